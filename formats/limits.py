"""The limits that readers of strangers' files compare with before they take memory or time, each with its reason.

All of them are chosen here, far beyond what real files have, unless a source is named. Whatever reads a file takes its
limits from this table.
"""

# files of any kind
ID_LETTERS = 4096  # of an id, a label and a group: as of the longest path
FOLDER_VISITS = 32  # how often one folder is listed in a tree, by links to it: links that fan out would never end
JSON_BYTES = 256 * 1024**2  # of a file that bchisto wrote
JSON_VALUES = 10_000_000  # of a JSON text: they take some 65 bytes each at most
RECORD_BYTES, RECORD_VALUES = 16 * 1024**2, 1_000_000  # of a record of what ran
OPTIONS_JSON = 16 * 1024**2  # characters of a file of options as JSON
YAML_CHARACTERS = 128 * 1024  # YAML is read at some 100,000 characters a second
YAML_VALUES = 100_000  # when what aliases repeat is counted as often as it stands there
WHOLE_NUMBER_BITS = 256  # Python would not even write a larger number
ZIP_MEMBER_BYTES = 256  # of a zip's directory, a member on average: 46 and its name

# pictures
PIXELS = 85_000_000  # just below the size of which Pillow itself warns; a BACH image has 3.1 million
PICTURE_BYTES = 8 * PIXELS  # four samples of 16 bits a pixel
EXIF_ENTRIES = 1000  # of a directory: cameras write some fifty
PAGES = 10_000  # of a TIFF
LEAST_MPP, MOST_MPP = 0.02, 20.0  # micrometres a pixel: light resolves 0.2, and beyond 20 a nucleus is half a pixel
JPEG_SEGMENTS = 20_000  # before the first scan
JPEG_SCANNED = 15 * PIXELS  # pixels times scans: progressive pictures have about ten, each passes over every pixel
PNG_CHUNKS = 1_000_000  # writers that make IDAT of 8 KiB need 83,000 for the largest picture
PNG_TEXT_BYTES = 1024**2  # of a text chunk, and of what it inflates to
DICOM_READS = 300_000  # from a file: an element takes up to three, and images have some hundreds of elements
DICOM_INFLATED = 2 * PIXELS  # bytes to which elements are inflated: 16 bits a pixel
DDSM_CASE_BYTES = 1024**2  # of an .ics: they take some hundred
DDSM_OVERLAY_BYTES = 8 * 1024**2  # the outlines of a view take some kilobytes

# tables
TABLE_BYTES = 256 * 1024**2  # a row takes some hundred bytes, so that this is a million images
TABLE_ROWS, TABLE_COLUMNS = 1_048_576, 16_384  # as Excel has them
TABLE_CELLS = 10_000_000  # a workbook may name a cell far away in a few bytes
LINE_CHARACTERS = 1_000_000  # of a table that bchisto wrote: every cell of a line takes memory, also an empty one
WORKBOOK_PARTS = 10_000
WORKBOOK_BYTES = 128 * 1024**2  # that it says it holds when unpacked; no more than that is ever unpacked
ROW_ELEMENTS = 300_000  # of XML in a row of a workbook, of which Excel has 16,384 cells
OTHER_ELEMENTS = 3_000_000  # outside of rows: the texts of a million cells are two million
TEXT_WITHOUT_ELEMENT = 1024**2  # bytes: a cell holds 32,767 signs
XLS_BYTES = 4 * 1024**2  # of an Excel 97 workbook: the table of INbreast takes some ten kilobytes

# archives
ARCHIVE_MEMBERS = 20_000  # the ensemble of the BACH paper has 600 models
ARCHIVE_BYTES = 8 * 1024**3  # unpacked: those models are some 2 GB of text
ARCHIVE_RATIO, ARCHIVE_SMALL = 40, 64 * 1024**2  # what unpacks to more bytes than the second is packed no tighter:
# texts of models shrink to a third, their smallest to a tenth
MANIFEST_BYTES = 128 * 1024**2  # the hashes of a million training images are 67 MB
MANIFEST_RATIO, MANIFEST_SMALL = 4, 1024**2  # as of an archive: hashes shrink to a half
MANIFEST_VALUES = 2_500_000  # a hash of a million images, and more than all else

# HDF5
HDF5_CHUNK_BYTES = 256 * 1024**2  # are unpacked at once
HDF5_EXPANSION = 200  # how much larger a dataset is than what is stored: gzip makes a thousandth of zeros, and about a
# half of descriptors
HDF5_ABSENT_BYTES = 16 * 1024**2  # of texts that were never written, which are empty
HDF5_OBJECTS = 100_000  # groups and datasets of a file that is walked as a whole
HDF5_BYTES = 4 * 1024**3  # of all values of such a file
HDF5_PROBE_BYTES = 8 * 1024**3  # memory of the process that reads a file first

# what the page of `serve` takes
SERVED_BYTES = 256 * 1024**2  # of a file: an uncompressed image of 85 million pixels
SERVED_IMAGES = 5_000  # of a session: the page shows them in one table
SERVED_HELD_BYTES = 16 * 1024**3  # of all files of a session
SERVED_WAITING = 100  # images that wait for the networks; who brings more is asked to wait
SERVED_VIEWS = 20  # pictures and maps that wait
SERVED_IDLE_SECONDS = 20  # in which a client sends nothing
SERVED_UPLOAD_SECONDS = 600  # of a file: 256 MB at 3.6 Mbit/s
SERVED_WORK_SECONDS = 1800  # of an image: the published settings take minutes
SERVED_NAME = 120  # letters of a name, and of each folder: a file system takes 255 bytes

# prediction tables
EVALUATED_CLASSES, EVALUATED_FOLDS = 100, 5000  # each costs figures of its own
EVALUATED_COLUMNS, EVALUATED_MODELS = 1000, 100
FOLD_DIGITS, CLASS_LETTERS = 9, 1000

# recipes
RECIPE_BYTES = 128 * 1024

# embeddings and stores
EMBEDDING_BYTES = 8 * 1024**3  # unpacked: a million of 2,048 numbers
EMBEDDING_ARRAYS = 1_000  # of an .npz
EMBEDDING_SLIDES = 100_000  # of an .h5
CARD_LETTERS = 64 * 1024  # of what is known of an encoder, in files and stores
COLUMN_LETTERS = 256 * 1024**2  # of a column of a store
FAILURES_LETTERS = 64 * 1024**2  # of what names every image that failed
SETTINGS_VALUES = 10_000  # of settings and lists of a store
AUGMENTATIONS = 1_000_000  # rows of an image
CROPS = 200_000  # of an image: the published experiment takes 6,000

# weights and configs of encoders
WEIGHTS_ARRAYS, WEIGHTS_BYTES = 20_000, 4 * 1024**3  # unpacked: AlexNet has 240 MB
WEIGHTS_RATIO, WEIGHTS_SMALL = (
    40,
    256 * 1024**2,
)  # as of an archive: weights hardly shrink
CONFIG_BYTES = 4 * 1024**2  # also of the index of a model in several files
CONFIG_NUMBER = 65_536  # no published network is so wide, deep or large
CARD_HEADER = 64 * 1024  # characters of a README.md that are looked at for its header
PARAMETER_GROWTH = 2  # how many times more parameters than its file a network may have: files lack heads
ONNX_BYTES = 2 * 1024**3  # what a message of protobuf can hold; larger networks have their values in files beside them
NETWORK_SIDE = 2048  # pixels that an encoder of others takes on a side

# model files
MODEL_CLASSES = 1_000
MODEL_ARRAYS = 20_000  # of a network: a large one has a thousand
MODEL_VALUE = 1e15  # sums of squares of such values are far from the end of float32
TREE_FEATURES, TREE_DEPTH = 10_000_000, 1_000  # a tree of LightGBM's default size has 31 leaves
TREE_SCORE = 1e15  # scores are logarithms
TRAINED_SIDE = 4096  # of the input of a trained network, pixels
TRAINED_BATCH = 2**27  # pixels of a batch
TRAINED_PATCHES = 100_000  # random patches of an image
