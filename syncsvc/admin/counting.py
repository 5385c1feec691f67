"""How many subscriptions a row of a list has: counted for the rows that are shown alone."""

from django.db.models import Count, F, IntegerField, OuterRef, Subquery, Value
from django.db.models.functions import Coalesce

from syncsvc.models import Subscription


def subscriptions_of(owner: str) -> Coalesce:
    """`owner` is app or repository. A join would be grouped as a whole before the first page is cut off."""
    own = Subscription.objects.order_by().filter(**{owner: OuterRef("pk")}).values(group=F(owner))
    return Coalesce(Subquery(own.values(n=Count("pk")), output_field=IntegerField()), Value(0))
