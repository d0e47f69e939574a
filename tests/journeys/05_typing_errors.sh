# Mistakes of typing: one clear line and exit code 2, whatever the word.
# made: plain
bchisto featurise --images images --out run  # 2: No such command 'featurise'
bchisto featurize --imags images --out run  # 2: --images
bchisto featurize --images images  # 2: Missing option '--out'
bchisto featurize --images image --out run  # 2: image: no such folder or manifest; check --images
bchisto featurize --images images --out run --jobs two  # 2: 'two' is not a valid integer
bchisto featurize --images images --out run --view 0.5x400  # 2: write SCALE:CROP, for example 0.5:400
bchisto featurize --images images --out run --view 1.0:48 --encoder tny  # 2: --encoder tny: no such encoder
bchisto featurize --images images --out run --weights nothere.h5  # 2: nothere.h5: no such weights file
bchisto featurize --images images --out run --shard 3/2  # 2: K counts from 1 and is at most N
bchisto featurize --images images --out run --dataset bahc  # 2: Did you mean bach?
bchisto featurize --images images --out run --stain makenko  # 2: --stain makenko: no such method
bchisto boost --out rnu  # 2: run bchisto featurize --out rnu first
bchisto boost --out rnu --head lightgmb  # 2: Did you mean lightgbm?
bchisto boost --out rnu --seeds 0  # 2: --seeds 0: give at least 1
bchisto predict model.bchisto --images images --out p.csv  # 2: model.bchisto: no such model bundle
bchisto evaluate prediction.csv --out e  # 2: prediction.csv: no such predictions file
bchisto data make --out x --size 100  # 2: write WIDTHxHEIGHT
bchisto data check --images images --classes benign,malignent  # 2: its label 'malignant' is none of the classes
bchisto reproduce rakhlin2019 --images images --out r  # 2: rakhlin2019: no such recipe
bchisto finetune --images images --network resnet --out run --folds 2  # 2: --network resnet: no such network
bchisto runs show rnu  # 2: rnu: no run.json in this folder
