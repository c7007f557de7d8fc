"""Words that say nothing of what a text is about: left out of what is ranked by, never of an index.

An index that lacks them cannot find "to be or not to be". In a query they cost most of the time,
since their postings are the longest, and move the order a little, mostly for the worse: BM25 gives
them nearly nothing, but a question has many of them. So a query ranks by its other words; one that
has no others ranks by all of them, and `$match` takes every word at its word.
"""

from __future__ import annotations

_ENGLISH = """
a an the this that these those any each every some such same other own few many more most
i me my mine myself you your yours yourself yourselves he him his himself she her hers herself
it its itself we us our ours ourselves they them their theirs themselves one
am is are was were be been being do does did doing done have has had having
can could may might must shall should will would
and or but nor not no if then else than because as until while though although whether so yet
of at by for with about against between into through during before after above below to from
up down in out on off over under again further upon within without among across toward towards
what which who whom whose when where why how there here
all both just only too very also once now ever even however
"""

STOP = {"english": frozenset(_ENGLISH.split())}
"""By language, folded and before stemming. Texts of no language have none."""
