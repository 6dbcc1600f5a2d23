"""The manual's pages, for everybody: they tell nothing of this portal or its files."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import cache_control
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_safe

from frontend import manual


@require_safe
@gzip_page
@cache_control(public=True, max_age=3600)
def page(request: HttpRequest, name: str = manual.INDEX) -> HttpResponse:
    shown = manual.page(name)
    if shown is None:
        raise Http404
    context = {"page": shown, "chapters": manual.chapters()}
    return render(request, "pages/manual.html", context)
