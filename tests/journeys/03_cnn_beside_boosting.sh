# A network beside boosted descriptors of the same images and folds.
# made: breakhis
# page: docs/finetune.md, without: CBIS-DDSM
bchisto featurize --images BreaKHis_v1 --out run
bchisto boost --folds 2 --out run
bchisto evaluate run --out both  # 0: 2-grouped
grep -q "2-grouped-breakhis-resnet" both/metrics.json
grep -q "2-grouped-lightgbm" both/metrics.json
