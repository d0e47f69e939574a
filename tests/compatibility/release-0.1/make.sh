set -ex
TINY="--encoder tiny --weights random --view 1.0:48 --augmentations 2 --crops 3 --jobs 1"
B="--folds 3 --seeds 2 --param min_data_in_leaf=2 --param num_iterations=4 --jobs 1"
# classes of which one is known as positive: 0.1.0 could write no report of others
bchisto featurize --images images --out run $TINY
bchisto boost --out run $B --head lightgbm --head logistic --head svm --head stack
bchisto finetune --images images --out run --network tiny --weights random --folds 3 --size 48 --epochs 2 --batch-size 4 --jobs 1
bchisto evaluate run --out evaluated --bootstrap 50
bchisto predict run/boost/3-lightgbm/model.bchisto --images images --out predicted-lightgbm.csv --jobs 1
for h in logistic svm stack; do bchisto predict run/boost/3-$h/model.bchisto --images images --out predicted-$h.csv --jobs 1; done
bchisto predict run/finetune/3-tiny/model.bchisto --images images --out predicted-cnn.csv --jobs 1
bchisto featurize --images images --out dense $TINY --mode dense
bchisto boost --out dense $B
bchisto predict dense/boost/3-lightgbm/model.bchisto --images images --out predicted-dense.csv --jobs 1
# half done
mkdir -p half-boost && cp -r run/features half-boost/ 
bchisto boost --out half-boost $B --shard 1/2
H="--encoder tiny --weights random --view 1.0:48 --augmentations 4 --crops 6 --jobs 1"
bchisto featurize --images images --out half $H --shard 1/2
cp -r half half-copy; bchisto featurize --images images --out half-copy $H; mv half-copy/features/tiny-1.0-48.h5 half-expected.h5; rm -rf half-copy
N="--network tiny --weights random --folds 3 --size 48 --epochs 6 --batch-size 4 --jobs 1 --name half"
bchisto finetune --images images --out whole $N; cp whole/finetune/3-tiny-half/predictions.csv half-finetune-expected.csv
