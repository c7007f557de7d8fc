"""What a collection remembers of labels: `classify` and `verify`, read from JSON and run on a view.

inputs      what is to be judged, as one head sees it
head        a method of judging: voting, class_means, label_texts, cached
classify    heads put together, and what is answered
read        from JSON to a `Classifier`
fitting     numbers of a classifier that are chosen on labelled points
verifying   pairs, their thresholds, and where these come from
"""
