# A manifest with patients, and all that "which settings for my data" shows.
# made: patients
# page: docs/settings.md
grep -q "patients or slides" study/boost/5-grouped-lightgbm/report.html
test -s comparison/report.html
