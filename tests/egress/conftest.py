import os

import pytest

from tests.egress.world import can_begin


@pytest.fixture(scope="session")
def world_of_its_own() -> None:
    if not can_begin():
        assert "CI" not in os.environ, "CI must be allowed to make namespaces"
        pytest.skip("this machine lets nobody make network namespaces")
