# BreakHis by patient, as the tutorial has it.
# made: breakhis
# page: docs/tutorial.md, with: BreaKHis_v1, --out breakhis
grep -q "keep patients or slides whole" breakhis/boost/5-grouped-lightgbm/report.html
python -c "import csv; r = list(csv.DictReader(open('breakhis/boost/5-grouped-lightgbm/folds.csv'))); assert all(len({x['fold'] for x in r if x['group'] == g}) == 1 for g in {x['group'] for x in r})"
