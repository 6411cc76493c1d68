"""Mutations of agent runs and of the triage of findings."""

import datetime
from typing import Annotated

import strawberry

from backend.agents import models, services
from backend.agents.models import AgentKind, Conclusion, FindingSeverity, FindingStatus, Trigger
from backend.agents.services import FindingInput, MetricInput, ToolInput
from backend.core.actor import Actor, Right
from backend.core.errors import BadUserInput
from schema.declare import resolver
from schema.mutations.base import MutationInput, MutationPayload, Values, carry_out, uploaded
from schema.relay.ids import decode_id_of
from schema.scalars import UploadValue
from schema.types.agents import AgentRun, FindingState


class BadFingerprint(BadUserInput):
    """A fingerprint is 64 hexadecimal digits."""


def _fingerprint(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        raise BadFingerprint(path=("fingerprint",)) from None
    if len(found) != 32:  # noqa: PLR2004 - SHA-256
        raise BadFingerprint(path=("fingerprint",))
    return found


@strawberry.input(description="An agent run that begins.")
class AgentRunStartInput(MutationInput):
    kind: AgentKind = strawberry.field(description="What the auditor looks at.")
    agent: str = strawberry.field(description="Name of the auditor, up to 120 characters; created if it is new.")
    version: str = strawberry.field(default="", description="Version of the auditor; empty if not known.")
    trigger: Trigger = strawberry.field(default=Trigger.MANUAL, description="What started it.")
    commit: str = strawberry.field(default="", description="Commit, 7 to 40 hexadecimal digits; empty if not known.")
    branch: str = strawberry.field(default="", description="Branch, up to 255 characters; empty if not known.")
    external_trace_url: str = strawberry.field(default="", description="Where the run can be followed; http or https.")


@strawberry.input(description="A finding of a run.")
class AgentFindingInput:
    rule: str = strawberry.field(description="Id of the rule.")
    tool: str = strawberry.field(description="The tool that reports it.")
    severity: FindingSeverity = strawberry.field(description="How much it matters.")
    title: str = strawberry.field(description="One line, up to 300 characters.")
    message: str = strawberry.field(default="", description="The whole message, up to 4,000 characters.")
    fingerprint: str | None = strawberry.field(
        default=None, description="64 hexadecimal digits that stay while code moves; computed if not given."
    )
    category: str = strawberry.field(default="", description="Category; empty without one.")
    path: str = strawberry.field(default="", description="File, relative to the repository.")
    start_line: int | None = strawberry.field(default=None, description="First line, from 1.")
    end_line: int | None = strawberry.field(default=None, description="Last line.")
    cwe: list[int] = strawberry.field(default_factory=list, description="Numbers of the Common Weakness Enumeration.")
    help_uri: str = strawberry.field(default="", description="Where the rule is explained.")

    def as_service_input(self) -> FindingInput:
        return FindingInput(
            rule=self.rule,
            tool=self.tool,
            severity=self.severity,
            title=self.title,
            message=self.message,
            fingerprint=_fingerprint(self.fingerprint) if self.fingerprint else None,
            category=self.category,
            path=self.path,
            start_line=self.start_line,
            end_line=self.end_line,
            cwe=tuple(self.cwe),
            help_uri=self.help_uri,
        )


@strawberry.input(description="A number that a run measured.")
class AgentMetricInput:
    name: str = strawberry.field(description="Dotted name, such as coverage.line; unique in the run.")
    value: float = strawberry.field(description="The number.")
    threshold: float | None = strawberry.field(default=None, description="What it is held against.")
    unit: str = strawberry.field(default="", description="Unit; empty for a plain number.")
    passed: bool | None = strawberry.field(default=None, description="Whether it meets the threshold.")


@strawberry.input(description="A tool that a run used.")
class AgentToolInput:
    name: str = strawberry.field(description="Name of the tool.")
    version: str = strawberry.field(default="", description="Its version.")
    exit_code: int | None = strawberry.field(default=None, description="How its process ended.")
    skipped: bool = strawberry.field(default=False, description="Whether it could not do its work.")


@strawberry.input(description="An agent run by its id.")
class AgentRunReferenceInput(MutationInput):
    id: strawberry.ID = strawberry.field(description="Opaque id of the AgentRun.")


@strawberry.input(description="What an agent run found.")
class AgentRunFinishInput(MutationInput):
    id: strawberry.ID = strawberry.field(description="Opaque id of the AgentRun.")
    conclusion: Conclusion | None = strawberry.field(
        default=None, description="What the run says; null if the auditor itself broke down: the run is then FAILED."
    )
    findings: list[AgentFindingInput] = strawberry.field(
        default_factory=list, description="What it found, at most 25,000."
    )
    metrics: list[AgentMetricInput] = strawberry.field(
        default_factory=list, description="What it measured, at most 1,000."
    )
    tools: list[AgentToolInput] = strawberry.field(default_factory=list, description="The tools that it used.")


@strawberry.input(description="A SARIF 2.1.0 document to be taken as agent runs. Its bytes are the idempotency key.")
class AgentRunImportSarifInput:
    file: UploadValue = strawberry.field(description="The document, up to 10 MB and 25,000 results a run.")
    kind: AgentKind = strawberry.field(description="What the auditor looks at.")
    agent: str = strawberry.field(description="Name of the auditor; created if it is new.")
    commit: str = strawberry.field(default="", description="Commit; empty: as the document says.")
    branch: str = strawberry.field(default="", description="Branch; empty: as the document says.")


@strawberry.input(description="A decision about a finding that outlives runs.")
class FindingTriageInput(MutationInput):
    agent: strawberry.ID = strawberry.field(name="agentId", description="Opaque id of the Agent.")
    fingerprint: str = strawberry.field(description="Fingerprint of the finding, 64 hexadecimal digits.")
    status: FindingStatus = strawberry.field(description="OPEN, ACKNOWLEDGED, FIXED or SUPPRESSED.")
    justification: str = strawberry.field(default="", description="Why; required for SUPPRESSED. No patient data.")
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
    ) -> AgentRunPayload:
        def work(actor: Actor) -> Values:
            run = decode_id_of(input.id, "RU", expected="AgentRun")
            return {"agent_run": services.agent_run_heartbeat(actor=actor, run_id=run)}

        return await carry_out(info, AgentRunPayload, input, work)

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
                run_id=decode_id_of(input.id, "RU", expected="AgentRun"),
                conclusion=input.conclusion,
                status=status,
                findings=[finding.as_service_input() for finding in input.findings],
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
            run = decode_id_of(input.id, "RU", expected="AgentRun")
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
                agent_id=decode_id_of(input.agent, "AG", expected="Agent"),
                fingerprint=_fingerprint(input.fingerprint),
                status=input.status,
                justification=input.justification,
                expires_at=input.expires_at,
            )
            return {"finding_state": state}

        return await carry_out(info, FindingTriagePayload, input, work)
