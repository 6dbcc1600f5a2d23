"""How static files are stored for serving."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class StaticFilesStorage(CompressedManifestStaticFilesStorage):
    """Every file under a name with its hash, so that browsers may keep it for ever.

    JavaScript modules import each other by hashed names too.
    """

    support_js_module_import_aggregation = True
