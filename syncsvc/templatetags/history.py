"""What templates say of runs and attempts."""

from django import template

from syncsvc.admin import badges

register = template.Library()
register.simple_tag(badges.run_badge)
register.simple_tag(badges.run_changes)
register.simple_tag(badges.attempt_badge)
