"""`entropostat report`: runs as one HTML file that needs nothing else, or served live. Imports no torch.

record.py    what a run brings along        layout.py  dashboard rows and panels, from the metric schema
series.py    thinned to 500 buckets         targets.py set points and the ceiling of the entropy
tables.py    last values, facts, recipes    extracts.py completions and histograms, cut to a budget
payload.py   all of it as data              page.py    the data, uPlot and our script in one file
serve.py     the same on loopback, live
"""
