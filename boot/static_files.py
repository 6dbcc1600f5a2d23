"""How static files are stored for serving."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from whitenoise.storage import CompressedManifestStaticFilesStorage


class StaticFilesStorage(CompressedManifestStaticFilesStorage):
    """Every file under a name with its hash, so that browsers may keep it for ever.

    JavaScript modules import each other by hashed names too.
    """

    support_js_module_import_aggregation = True
    max_post_process_passes = 12  # a module's name follows from those that it imports, and so on


def favicon(_request: HttpRequest) -> HttpResponse:
    """Browsers ask for it where no page names an icon, as for a JSON answer of the API."""
    return redirect(static("img/favicon.svg"))
