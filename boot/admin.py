"""The admin, named after the product."""

from django.contrib.admin import AdminSite


class DooritoAdminSite(AdminSite):
    site_title = "Doorito"
    site_header = "Doorito"
    index_title = "Administration"
