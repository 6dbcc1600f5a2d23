"""Django's PostgreSQL backend, which waits long for a busy database only, not for one that is gone.

(Django finds a backend by the name `base`.)
"""

from typing import Any

from django.db.backends.postgresql import base
from psycopg_pool import PoolTimeout

from boot.outage import FURTHER_WAITS, outage


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Raises PoolTimeout, and soon where the database is known to be gone."""
        try:
            lent = super().get_new_connection(conn_params)
        except PoolTimeout:
            lent = self._wait_further()
        outage.end()
        return lent

    def _wait_further(self) -> Any:
        for seconds in FURTHER_WAITS:
            if outage.is_known:
                raise PoolTimeout("The database cannot be reached.")
            try:
                return self.pool.getconn(timeout=seconds)
            except PoolTimeout:
                continue
        raise PoolTimeout("Others have all of the connections to the database.")
