# A pathologist's folders, with accents, spaces and brackets in every name: README without its demo, whose test stands elsewhere.
# made: accents
bchisto data check --images images  # 0: 12 images, 0 findings
bchisto data list --images images  # 0: gutartig (Ödem)
# page: README.md, without: --out run, run/boost, demo
bchisto data list --images new  # 0: unbekannt
test -s trial/boost/5-lightgbm/report.html
bchisto predict trial/boost/5-lightgbm/model.bchisto --images new --out predictions.csv
grep -q "Müller" predictions.csv || grep -q "unbekannt" predictions.csv
