from collections.abc import Iterator

import pytest

from tests.acceptance.system import System


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system")) as system:
        yield system
