"""The dataloaders of one operation, among those who wait for the same rows."""

import asyncio
from typing import Any

from backend.accounts.models import Organization
from backend.core.tenancy import acting_for
from backend.db.reads import Reads
from backend.payers.models import Payer
from schema.loaders.request import Loaders
from tests import factories as make
from tests.threads import in_thread


async def test_who_stops_waiting_for_a_row_takes_it_from_nobody(reads: Reads, organization: Organization) -> None:
    def create() -> Payer:
        with acting_for(organization.id):
            return make.payer(organization, "acme")

    payer = await in_thread(create)
    async with reads.snapshot(organization.id) as snapshot:
        loaders = Loaders(snapshot, lambda _model, _keys: None)

        async def wait() -> Any:
            return await loaders.row(Payer, payer.id)

        leaving, staying = asyncio.create_task(wait()), asyncio.create_task(wait())
        await asyncio.sleep(0)
        leaving.cancel()

        assert (await staying).code == "acme"
        assert len(snapshot.statements) == 1


async def test_who_asks_for_a_row_that_is_on_its_way_waits_for_it(reads: Reads, organization: Organization) -> None:
    def create() -> Payer:
        with acting_for(organization.id):
            return make.payer(organization, "acme")

    payer = await in_thread(create)
    async with reads.snapshot(organization.id) as snapshot:
        loaders = Loaders(snapshot, lambda _model, _keys: None)

        async def wait() -> Any:
            return await loaders.row(Payer, payer.id)

        first = asyncio.create_task(wait())
        for _ in range(10):
            await asyncio.sleep(0)
        assert snapshot.statements
        late = asyncio.create_task(wait())

        assert (await first) is (await late)
        assert len(snapshot.statements) == 1
