"""What the fork server of attempts loads: Django with every registered task."""

import configurations

configurations.setup()
