# Patches of IDC by slide: the published division, as the tutorial has it.
# made: idc
# page: docs/tutorial.md, with: IDC_regular, --out idc
grep -q "84/29/49 published slides" idc/boost/idc-published-lightgbm/report.html
