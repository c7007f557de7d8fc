"""Compositions: what a query may look for besides one thing (decision 29).

Each module reads its nodes and compiles them: to one vector where that is what they mean, else to
a rule that scores candidates. The formulas are `app.ranking.algebra`'s.
"""

from app.query.algebra.conditions import read_condition
from app.query.algebra.examples import read_context, read_discover, read_recommend
from app.query.algebra.operations import read_intersect, read_subtract, read_union
from app.query.algebra.sets import read_attributes, read_label, read_set
from app.query.algebra.sums import read_add, read_compose, read_reject, read_sum
from app.query.algebra.uncertain import read_uncertain
from app.query.expression import ReadNode

COMPOSITIONS: dict[str, ReadNode] = {
    "sum": read_sum,
    "add": read_add,
    "subtract": read_subtract,
    "reject": read_reject,
    "compose": read_compose,
    "set": read_set,
    "label": read_label,
    "attributes": read_attributes,
    "union": read_union,
    "intersect": read_intersect,
    "condition": read_condition,
    "uncertain": read_uncertain,
    "recommend": read_recommend,
    "discover": read_discover,
    "context": read_context,
}
"""Node → who reads it, by the member that names it."""
