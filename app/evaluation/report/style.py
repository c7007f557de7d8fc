"""The look of a report: system fonts, eight colours that differ to most eyes, light and dark."""

_STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fbfaf8; --card: #ffffff; --ink: #1d2329; --soft: #5b6670; --rule: #e3e0da;
  --accent: #1f5fa8; --better: #18794e; --worse: #c2410c; --unclear: #7a828a;
  --c1: #1f5fa8; --c2: #c2570c; --c3: #18794e; --c4: #8a3ab9;
  --c5: #0e7c86; --c6: #b3264e; --c7: #7a6a00; --c8: #54606b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181c; --card: #1b2026; --ink: #e8ebee; --soft: #a2adb7; --rule: #313942;
    --accent: #7fb5f0; --better: #5cc894; --worse: #ff9c66; --unclear: #9aa4ad;
    --c1: #6fadf0; --c2: #f59b5b; --c3: #5cc894; --c4: #c796ea;
    --c5: #5bc4cd; --c6: #f08aa6; --c7: #d3bf4a; --c8: #a9b4be;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink); overflow-wrap: anywhere;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 1120px; margin: 0 auto; padding: 40px 20px 64px; }
header { border-bottom: 1px solid var(--rule); padding-bottom: 20px; margin-bottom: 8px; }
h1 { font-size: clamp(26px, 5vw, 38px); line-height: 1.15; letter-spacing: -.02em;
     margin: 4px 0 8px; overflow-wrap: anywhere; }
h2 { font-size: 21px; letter-spacing: -.01em; margin: 44px 0 4px; }
h3 { font-size: 16px; margin: 0 0 2px; overflow-wrap: anywhere; }
p { margin: 6px 0; max-width: 74ch; overflow-wrap: anywhere; }
.soft, figcaption { color: var(--soft); font-size: 14px; }
.findings { padding: 0; margin: 20px 0 0; list-style: none; display: grid; gap: 10px; }
.findings li { border-left: 3px solid var(--accent); padding: 2px 0 2px 14px; font-size: 17px;
               overflow-wrap: anywhere; max-width: 80ch; }
.grid > .scroll { margin-top: 0; align-self: start; }
.grid { display: grid; gap: 16px; margin-top: 14px;
        grid-template-columns: repeat(auto-fill, minmax(min(100%, 320px), 1fr)); }
figure { margin: 0; background: var(--card); border: 1px solid var(--rule); border-radius: 12px;
         padding: 16px; min-width: 0; display: flex; flex-direction: column; gap: 8px; }
figcaption { margin: 0; }
svg.plot { width: 100%; max-width: 460px; height: auto; display: block; }
svg.swatch { width: 28px; height: 12px; flex: none; }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
           fill: var(--ink); }
svg .tick { fill: var(--soft); font-size: 11px; }
svg .value { font-variant-numeric: tabular-nums; }
svg .end { text-anchor: end; } svg .middle { text-anchor: middle; }
svg .axis { stroke: var(--soft); } svg .grid { stroke: var(--rule); }
svg .dashed { stroke-dasharray: 4 4; stroke: var(--soft); }
svg .halo { stroke: var(--card); stroke-width: 4; }
svg .error { stroke: var(--ink); stroke-width: 1.5; }
svg .whisker { stroke-width: 3; stroke-linecap: round; }
svg .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
svg .better { fill: var(--better); } svg .worse { fill: var(--worse); }
svg .unclear, svg .equal { fill: var(--unclear); }
svg .whisker.better { stroke: var(--better); } svg .whisker.worse { stroke: var(--worse); }
svg .whisker.unclear, svg .whisker.equal { stroke: var(--unclear); }
COLOURS
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 10px 0 0; padding: 0;
          list-style: none; font-size: 14px; }
.legend li { display: flex; align-items: center; gap: 6px; overflow-wrap: anywhere; min-width: 0; }
.scroll { overflow-x: auto; margin-top: 14px; border-radius: 12px; border: 1px solid var(--rule);
          background: var(--card); min-width: 0; }
.scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--accent);
                                               outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: 14px;
        font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: 10px 14px 0; color: var(--soft); }
th, td { text-align: right; padding: 8px 14px; border-top: 1px solid var(--rule);
         white-space: nowrap; }
thead th { border-top: 0; color: var(--soft); font-weight: 600; }
th:first-child, td:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere;
                                 min-width: 9em; max-width: 34em; }
td small { color: var(--soft); display: block; font-weight: 400; }
td.best { font-weight: 700; }
td.better { color: var(--better); } td.worse { color: var(--worse); }
details { font-size: 14px; } summary { cursor: pointer; color: var(--soft); }
details .scroll { margin-top: 8px; }
pre { background: var(--card); border: 1px solid var(--rule); border-radius: 12px;
      padding: 12px 14px;
      font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace;
      white-space: pre-wrap; overflow-wrap: anywhere; margin: 8px 0 16px; }
footer { margin-top: 56px; border-top: 1px solid var(--rule); padding-top: 14px; }
@media print { figure, .scroll { break-inside: avoid; } }
"""

_DASHES = ("", "7 3", "2 3", "9 3 2 3")
_LINES = "\n".join(
    f"svg .c{n} {{ fill: var(--c{n}); }} "
    f"svg .l{n} {{ stroke: var(--c{n}); stroke-dasharray: {_DASHES[(n - 1) % 4] or 'none'}; }}"
    for n in range(1, 9)
)

STYLE = _STYLE.replace("COLOURS", _LINES)
"""The style sheet."""
