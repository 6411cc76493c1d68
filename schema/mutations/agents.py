"""Mutations of agent runs and of the triage of findings."""

import dataclasses
import datetime
import re
from typing import Annotated

import strawberry

from backend.agents import checks, models, services
from backend.agents.errors import BadFingerprint
from backend.agents.models import AgentKind, Conclusion, FindingSeverity, FindingStatus, Trigger
from backend.agents.services import FindingInput, MetricInput, ToolInput
from backend.core.actor import Actor, Right
from backend.core.errors import within
from schema.declare import resolver
from schema.mutations.base import MutationInput, MutationPayload, Values, carry_out, uploaded
from schema.relay.ids import decode_id_of
from schema.scalars import UploadValue
from schema.types.agents import AgentRun, FindingState


def _fingerprint(text: str) -> bytes:
    if not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise BadFingerprint(path=("fingerprint",))
    return bytes.fromhex(text)


@strawberry.input(description="An agent run that begins.")
class AgentRunStartInput(MutationInput):
    kind: AgentKind = strawberry.field(description="What the auditor looks at.")
    agent: str = strawberry.field(description="Name of the auditor, up to 120 characters; created if it is new.")
    version: str = strawberry.field(
        default="", description=f"Version of the auditor, {checks.VERSION}; empty if not known."
    )
    trigger: Trigger = strawberry.field(default=Trigger.MANUAL, description="What started it.")
    commit: str = strawberry.field(default="", description="Commit, 7 to 40 hexadecimal digits; empty if not known.")
    branch: str = strawberry.field(default="", description="Branch, up to 255 characters; empty if not known.")
    external_trace_url: str = strawberry.field(
        default="",
        description=f"Where the run can be followed; http or https, {checks.ADDRESS}; empty if nowhere.",
    )


_NUMBER = f"1 to {checks.MAX_NUMBER:,}"


@strawberry.input(description="A finding of a run.")
class AgentFindingInput:
    rule: str = strawberry.field(description=f"Id of the rule, {checks.RULE}.")
    tool: str = strawberry.field(description=f"The tool that reports it, {checks.TOOL}.")
    severity: FindingSeverity = strawberry.field(description="How much it matters.")
    title: str = strawberry.field(description=f"One line, {checks.TITLE}.")
    message: str = strawberry.field(default="", description=f"The whole message, {checks.MESSAGE}.")
    fingerprint: str | None = strawberry.field(
        default=None,
        description="64 hexadecimal digits that stay while code moves. If not given, the SHA-256 of tool, rule, path,"
        " words of the line and number among equal ones, as for SARIF documents.",
    )
    category: str = strawberry.field(default="", description=f"Category, {checks.CATEGORY}; empty without one.")
    path: str = strawberry.field(
        default="",
        description=f"File, relative to the repository and not leading out of it, {checks.PATH}; empty without one.",
    )
    line_text: str | None = strawberry.field(
        default=None,
        description=f"The source line, or what else names the place, {checks.LINE}. It makes the fingerprint and is not"
        " kept.",
    )
    start_line: int | None = strawberry.field(default=None, description=f"First line, {_NUMBER}.")
    end_line: int | None = strawberry.field(
        default=None, description=f"Last line, {_NUMBER}, not before the first; null: the first."
    )
    start_column: int | None = strawberry.field(default=None, description=f"First column, {_NUMBER}.")
    end_column: int | None = strawberry.field(default=None, description=f"Last column, {_NUMBER}.")
    cwe: list[int] = strawberry.field(
        default_factory=list,
        description=f"Numbers of the Common Weakness Enumeration, 1 to {checks.MAX_CWE:,}; at most {checks.MAX_CWES}.",
    )
    help_uri: str = strawberry.field(
        default="", description=f"Where the rule is explained; http or https, {checks.ADDRESS}; empty without one."
    )

    def as_service_input(self) -> FindingInput:
        return FindingInput(
            rule=self.rule,
            tool=self.tool,
            severity=self.severity,
            title=self.title,
            message=self.message,
            fingerprint=None if self.fingerprint is None else _fingerprint(self.fingerprint),
            category=self.category,
            path=self.path,
            line_text=self.line_text,
            start_line=self.start_line,
            end_line=self.end_line,
            start_column=self.start_column,
            end_column=self.end_column,
            cwe=tuple(self.cwe),
            help_uri=self.help_uri,
        )


def _findings(given: list[AgentFindingInput]) -> list[FindingInput]:
    found = []
    for index, finding in enumerate(given):
        with within("findings", str(index)):
            found.append(finding.as_service_input())
    return found


@strawberry.input(description="A number that a run measured.")
class AgentMetricInput:
    name: str = strawberry.field(
        description=f"Dotted name, such as coverage.line, {checks.METRIC_NAME}; unique in the run."
    )
    value: float = strawberry.field(description="The number, finite.")
    threshold: float | None = strawberry.field(default=None, description="What it is held against.")
    unit: str = strawberry.field(default="", description=f"Unit, {checks.UNIT}; empty for a plain number.")
    passed: bool | None = strawberry.field(default=None, description="Whether it meets the threshold.")


@strawberry.input(description="A tool that a run used.")
class AgentToolInput:
    name: str = strawberry.field(description=f"Name of the tool, {checks.TOOL}.")
    version: str = strawberry.field(default="", description=f"Its version, {checks.VERSION}; empty if not known.")
    exit_code: int | None = strawberry.field(default=None, description="How its process ended.")
    skipped: bool = strawberry.field(default=False, description="Whether it could not do its work.")


@strawberry.input(description="An agent run by its id.")
class AgentRunReferenceInput(MutationInput):
    id: strawberry.ID = strawberry.field(description="Opaque id of the AgentRun.")


@strawberry.input(description="How far an agent run has come, for those who follow it.")
class AgentRunProgressInput:
    phase: str = strawberry.field(default="", description=f"What it is at, {checks.PHASE}; empty without a name.")
    done: int | None = strawberry.field(
        default=None, description=f"How much is done, 0 to {checks.MAX_NUMBER:,}, in a unit of the auditor's choice."
    )
    total: int | None = strawberry.field(
        default=None, description="How much there is in all, in the same unit, not less than what is done."
    )


@strawberry.input(description="What an agent run found.")
class AgentRunFinishInput(MutationInput):
    id: strawberry.ID = strawberry.field(description="Opaque id of the AgentRun.")
    conclusion: Conclusion | None = strawberry.field(
        default=None, description="What the run says; null if the auditor itself broke down: the run is then FAILED."
    )
    findings: list[AgentFindingInput] = strawberry.field(
        default_factory=list,
        description=f"What it found, at most {checks.MAX_FINDINGS:,} and what fits into a request: its bytes"
        " (DRIFTGRAPH_MAX_BODY_BYTES) and its values (DRIFTGRAPH_MAX_JSON_VALUES, of which a finding takes one and one"
        " for each of its fields). That is about 2,400 findings with seven fields unless set otherwise;"
        " agentRunImportSarif takes more.",
    )
    metrics: list[AgentMetricInput] = strawberry.field(
        default_factory=list, description=f"What it measured, at most {checks.MAX_METRICS:,}."
    )
    tools: list[AgentToolInput] = strawberry.field(
        default_factory=list, description=f"The tools that it used, at most {checks.MAX_TOOLS}."
    )


@strawberry.input(
    description="A SARIF 2.1.0 document to be taken as agent runs. Its bytes are an idempotency key themselves."
)
class AgentRunImportSarifInput(MutationInput):
    file: UploadValue = strawberry.field(
        description="The document, up to 10 MB (DRIFTGRAPH_MAX_SARIF_BYTES) and 25,000 results a run. The path of an"
        " error leads on into the document."
    )
    kind: AgentKind = strawberry.field(description="What the auditor looks at.")
    agent: str = strawberry.field(description="Name of the auditor, up to 120 characters; created if it is new.")
    commit: str = strawberry.field(
        default="", description="Commit, 7 to 40 hexadecimal digits; empty: as the document says."
    )
    branch: str = strawberry.field(default="", description="Branch, up to 255 characters; empty: as the document says.")


@strawberry.input(description="A decision about a finding that outlives runs.")
class FindingTriageInput(MutationInput):
    agent: strawberry.ID = strawberry.field(name="agentId", description="Opaque id of the Agent.")
    fingerprint: str = strawberry.field(description="Fingerprint of the finding, 64 hexadecimal digits.")
    status: FindingStatus = strawberry.field(description="OPEN, ACKNOWLEDGED, FIXED or SUPPRESSED.")
    justification: str = strawberry.field(
        default="", description=f"Why, {checks.JUSTIFICATION}; required for SUPPRESSED. No patient data."
    )
    expires_at: datetime.datetime | None = strawberry.field(
        default=None, description="When a suppression ends; null: never."
    )


@strawberry.type(description="The agent run that a mutation was about.")
class AgentRunPayload(MutationPayload):
    agent_run: AgentRun | None = strawberry.field(default=None, description="The run; null if the mutation failed.")


@strawberry.type(description="The agent runs of an imported document.")
class AgentRunImportSarifPayload(MutationPayload):
    agent_runs: list[AgentRun] = strawberry.field(
        default_factory=list, description="One per run of the document; the same ones when it is imported again."
    )


@strawberry.type(description="The finding that was triaged.")
class FindingTriagePayload(MutationPayload):
    finding_state: FindingState | None = strawberry.field(
        default=None, description="What is known of the finding; null if the mutation failed."
    )


@strawberry.type
class AgentMutations:
    @resolver("Begins an agent run. The same idempotency key gives the same run.", right=Right.AGENTS_WRITE)
    @staticmethod
    async def agent_run_start(
        info: strawberry.Info,
        input: Annotated[AgentRunStartInput, strawberry.argument(description="The run.")],
    ) -> AgentRunPayload:
        def work(actor: Actor) -> Values:
            return {
                "agent_run": services.agent_run_start(
                    actor=actor,
                    kind=input.kind,
                    name=input.agent,
                    version=input.version,
                    trigger=input.trigger,
                    commit=input.commit,
                    branch=input.branch,
                    external_trace_url=input.external_trace_url,
                )
            }

        return await carry_out(info, AgentRunPayload, input, work)

    @resolver("Says that an agent run is still at work.", right=Right.AGENTS_WRITE)
    @staticmethod
    async def agent_run_heartbeat(
        info: strawberry.Info,
        input: Annotated[AgentRunReferenceInput, strawberry.argument(description="The run.")],
        progress: Annotated[
            AgentRunProgressInput | None,
            strawberry.argument(description="How far it has come; null: nothing is told to those who follow it."),
        ] = None,
    ) -> AgentRunPayload:
        said = {} if progress is None else dataclasses.asdict(progress)

        def work(actor: Actor) -> Values:
            run = decode_id_of(input.id, "RU", expected="AgentRun", path=("id",))
            return {"agent_run": services.agent_run_heartbeat(actor=actor, run_id=run, **said)}

        return await carry_out(info, AgentRunPayload, input, work, beside=said or None)

    @resolver("Ends an agent run with what it found.", right=Right.AGENTS_WRITE)
    @staticmethod
    async def agent_run_finish(
        info: strawberry.Info,
        input: Annotated[AgentRunFinishInput, strawberry.argument(description="What it found.")],
    ) -> AgentRunPayload:
        def work(actor: Actor) -> Values:
            concluded = input.conclusion is not None
            status = models.AgentRunStatus.SUCCEEDED if concluded else models.AgentRunStatus.FAILED
            run = services.agent_run_finish(
                actor=actor,
                run_id=decode_id_of(input.id, "RU", expected="AgentRun", path=("id",)),
                conclusion=input.conclusion,
                status=status,
                findings=_findings(input.findings),
                metrics=[MetricInput(m.name, m.value, m.threshold, m.unit, m.passed) for m in input.metrics],
                tools=[ToolInput(t.name, t.version, t.exit_code, t.skipped) for t in input.tools],
            )
            return {"agent_run": run}

        return await carry_out(info, AgentRunPayload, input, work)

    @resolver("Takes an agent run back.", right=Right.AGENTS_WRITE)
    @staticmethod
    async def agent_run_cancel(
        info: strawberry.Info,
        input: Annotated[AgentRunReferenceInput, strawberry.argument(description="The run.")],
    ) -> AgentRunPayload:
        def work(actor: Actor) -> Values:
            run = decode_id_of(input.id, "RU", expected="AgentRun", path=("id",))
            return {"agent_run": services.agent_run_cancel(actor=actor, run_id=run)}

        return await carry_out(info, AgentRunPayload, input, work)

    @resolver(
        "Takes a SARIF 2.1.0 document as agent runs; the same document again gives the same runs.",
        right=Right.AGENTS_WRITE,
    )
    @staticmethod
    async def agent_run_import_sarif(
        info: strawberry.Info,
        input: Annotated[AgentRunImportSarifInput, strawberry.argument(description="The document.")],
    ) -> AgentRunImportSarifPayload:
        def work(actor: Actor) -> Values:
            runs = services.agent_run_import_sarif(
                actor=actor,
                document=uploaded(input.file).path,
                kind=input.kind,
                name=input.agent,
                commit=input.commit,
                branch=input.branch,
            )
            return {"agent_runs": list(runs)}

        return await carry_out(info, AgentRunImportSarifPayload, input, work)

    @resolver("Decides about a finding; the decision holds for later runs.", right=Right.AGENTS_WRITE)
    @staticmethod
    async def finding_triage(
        info: strawberry.Info,
        input: Annotated[FindingTriageInput, strawberry.argument(description="The decision.")],
    ) -> FindingTriagePayload:
        def work(actor: Actor) -> Values:
            state = services.finding_triage(
                actor=actor,
                agent_id=decode_id_of(input.agent, "AG", expected="Agent", path=("agentId",)),
                fingerprint=_fingerprint(input.fingerprint),
                status=input.status,
                justification=input.justification,
                expires_at=input.expires_at,
            )
            return {"finding_state": state}

        return await carry_out(info, FindingTriagePayload, input, work)
