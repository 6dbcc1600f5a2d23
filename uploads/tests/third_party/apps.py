from django.apps import AppConfig


class ThirdPartyConfig(AppConfig):
    name = "uploads.tests.third_party"

    def ready(self) -> None:
        from uploads.tests.third_party import workflow_tasks  # noqa: F401, PLC0415
