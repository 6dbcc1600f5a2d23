#!/usr/bin/env python
"""Django's command line for Doorito."""

from boot.management import main

if __name__ == "__main__":
    main()
