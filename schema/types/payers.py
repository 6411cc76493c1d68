"""Object types of payers, procedure groups and procedure codes."""

import strawberry
import strawberry_django

from backend.core.actor import Right
from backend.payers import models
from backend.payers.models import CodeSystem, PayerKind
from schema.declare import column, global_id, orders, to_one
from schema.relay.keyset import Order
from schema.relay.node import Node
from schema.relay.pages import ListSource


@strawberry_django.type(models.Payer, name="Payer", description="Who decides and pays claims.")
class Payer(Node):
    id: strawberry.ID = global_id("PY", models.Payer, "Payer", right=Right.READ)
    code: str = column("X12 payer id or slug, lower case; unique in the organization.", "code")
    name: str = column("Name as people know it.", "name")
    kind: PayerKind = column("Line of business; OTHER when not known.", "kind")
    active: bool = column("Whether claims are still sent to it.", "active")
    mapped: bool = column("false: made by an import from a name that nobody has confirmed (payerMap).", "mapped")


@strawberry_django.type(models.ProcedureGroup, name="ProcedureGroup", description="A customer's group of procedures.")
class ProcedureGroup(Node):
    id: strawberry.ID = global_id("PG", models.ProcedureGroup, "ProcedureGroup", right=Right.READ)
    code: str = column("Short name; unique in the organization.", "code")
    name: str = column("Name as people know it.", "name")


@strawberry_django.type(
    models.ProcedureCode, name="ProcedureCode", description="A procedure code. Descriptions are not stored."
)
class ProcedureCode(Node):
    id: strawberry.ID = global_id("PC", models.ProcedureCode, "ProcedureCode", right=Right.READ)
    code: str = column("The code, upper case, up to 7 characters.", "code")
    system: CodeSystem = column("Where the code is defined.", "system")
    group: ProcedureGroup = to_one("The group that it is sorted into.", "group_id", models.ProcedureGroup)


PayerOrder = orders("PayerOrder", Order("NAME_ASC", ("name",), descending=False, description="By name, A first."))
PAYERS = ListSource("payers", models.Payer, models.Payer.objects.all, PayerOrder, PayerOrder.NAME_ASC)
