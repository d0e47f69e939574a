# A pathologist's folders, with accents, spaces and brackets in every name: README.
# made: accents
bchisto data check --images images  # 0: 20 images, 0 findings
bchisto data check --images images --table -  # 0: gutartig (Ödem)
# page: README.md
bchisto data check --images new --table -  # 0: unbekannt
test -s trial/boost/10-lightgbm/report.html
grep -q "Müller" predictions.csv
test -s predictions.html
test -s heat-maps/map/index.html
test -s study/report.html
