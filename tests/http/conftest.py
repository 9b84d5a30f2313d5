"""Fixtures of the tests of the HTTP side."""

from tests.mirror.fixtures import access_log as access_log
from tests.mirror.fixtures import no_breaker as no_breaker
from tests.mirror.fixtures import searching as searching
from tests.mirror.fixtures import short_waits as short_waits
from tests.mirror.fixtures import tmp_path as tmp_path
