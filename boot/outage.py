"""Whether the database is known to be gone. Told by the pool of connections, which keeps trying."""

from typing import Any

# For so long, in seconds, the pool tries to connect before it takes the database for gone. The
# next one who asks for a connection then makes it try again.
RECONNECT_SECONDS = 1.0

# How long somebody waits for a connection, who has to queue anew after each of these: 20 seconds
# in all while others have them, and no further than the first while the database is gone.
FIRST_WAIT = 2.0
FURTHER_WAITS = (6.0, 12.0)


class Outage:
    def __init__(self) -> None:
        self.is_known = False

    def begin(self, _pool: Any) -> None:
        """psycopg's pool calls it with itself."""
        self.is_known = True

    def end(self) -> None:
        self.is_known = False


outage = Outage()  # of this process's database
