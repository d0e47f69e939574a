# The tutorial word by word, on 400 small images with the names of BACH; what it says of other data is in 04 and 05.
# made: bach
# page: docs/tutorial.md, without: BreaKHis_v1, --out breakhis, IDC_regular, --out idc
test -s run/report.html
test -s run/boost/eva-svm/model.bchisto
test -s evaluation/report.html
