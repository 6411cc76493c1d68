"""Periodic jobs do their work for every organization, whatever becomes of it for another."""

import uuid

import pytest
from django.db import OperationalError, connection

from backend.accounts.models import Organization
from backend.accounts.periodic import OrganizationsFailed, for_each_organization
from backend.core.actor import Actor


def test_an_organization_whose_work_fails_keeps_no_other_from_its_turn(
    organization: Organization, other_organization: Organization, caplog: pytest.LogCaptureFixture
) -> None:
    reached: list[uuid.UUID] = []

    def work(actor: Actor) -> None:
        reached.append(actor.organization_id)
        if actor.organization_id in (organization.id, other_organization.id):
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    with pytest.raises(OrganizationsFailed, match="tidy failed for 2 organizations"):
        for_each_organization("tidy", work)

    assert {organization.id, other_organization.id} <= set(reached)
    assert len(reached) == len(set(reached)) == Organization.objects.count()
    assert f"tidy failed for organization {organization.id}: {OperationalError.__name__}" in caplog.text


def test_what_a_failure_says_stays_out_of_the_log(organization: Organization, caplog: pytest.LogCaptureFixture) -> None:
    def work(actor: Actor) -> None:
        raise ValueError("CLEAR-NUMBER-1")

    with pytest.raises(OrganizationsFailed):
        for_each_organization("tidy", work)

    assert f"organization {organization.id}: ValueError" in caplog.text
    assert "CLEAR-NUMBER-1" not in caplog.text
