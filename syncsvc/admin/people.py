"""Users and groups: Django's own pages, whose changes are in the audit."""

from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User

from syncsvc.admin.audited import AuditedMixin
from syncsvc.admin.bounded import BoundedMixin

if TYPE_CHECKING:
    PersonAdmin = UserAdmin[User]  # at run time it takes no parameter
else:
    PersonAdmin = UserAdmin

admin.site.unregister([User, Group])


@admin.register(User)
class ConsoleUserAdmin(BoundedMixin, AuditedMixin, PersonAdmin):
    pass


@admin.register(Group)
class ConsoleGroupAdmin(BoundedMixin, AuditedMixin, GroupAdmin):
    pass
