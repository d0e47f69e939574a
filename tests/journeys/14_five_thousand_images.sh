# 5,000 images of 500 patients: listed, checked and divided in seconds.
# made: crowd
bchisto data list --images manifest.csv  # 0: 5000 images
bchisto data check --images manifest.csv  # 0: 0 findings
bchisto data folds --images manifest.csv --folds 10 --out folds.csv
