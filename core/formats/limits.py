"""Limits on memory and time for the readers of untrusted files, each with its reason.

Unless a source is named, the limits are bchisto's choice, far above the sizes of real files. All readers of files use
this table.
"""

# files of any kind
ID_LETTERS = 4096  # characters of an ID, a label or a group, as many as the longest path has
FOLDER_VISITS = 32  # of one folder; branching links in a tree would otherwise never end
JSON_BYTES = 256 * 1024**2  # of a file that bchisto wrote
JSON_VALUES = 10_000_000  # of a JSON text; a value takes at most some 65 bytes
XML_TAGS = (
    2_000_000  # of annotations; a point takes some 700 bytes, and large files of HALO have 900,000
)
CROSSINGS = 5_000  # of an outline with itself: a hand makes a few, and its area takes a second
RECORD_BYTES = 16 * 1024**2  # of a record of a run
RECORD_VALUES = 1_000_000  # of a record of a run
OPTIONS_JSON = 16 * 1024**2  # characters of a file of options in JSON
YAML_CHARACTERS = 128 * 1024  # YAML is parsed at some 100,000 characters per second
YAML_VALUES = 100_000  # including the values that aliases repeat
ZIP_MEMBER_BYTES = 256  # average entry of a member in the directory of a zip: 46 bytes and its name

# images
PIXELS = 85_000_000  # just below where Pillow itself warns; a BACH image has 3.1 million
PICTURE_BYTES = 8 * PIXELS  # four samples of 16 bits per pixel
EXIF_ENTRIES = 1000  # of a directory; cameras write some fifty
PAGES = 10_000  # of a TIFF
DESCRIPTION = 1024**2  # characters of a TIFF's description; OME-XML of one image has some thousand
LEAST_MPP = 0.02  # micrometres per pixel: light resolves 0.2
MOST_MPP = 20.0  # micrometres per pixel: above it, a nucleus is half a pixel
JPEG_SCANNED = 15 * PIXELS  # pixels times scans: progressive images have about ten scans
DICOM_READS = 300_000  # of one file: an element takes up to three, and images have some hundred
DDSM_CASE_BYTES = 1024**2  # of an .ics file; they have some hundred
DDSM_OVERLAY_BYTES = 8 * 1024**2  # the outlines of one view take some kilobytes

# tables
TABLE_BYTES = 256 * 1024**2  # a row takes some hundred bytes, so this is a million images
TABLE_ROWS = 1_048_576  # the limit of Excel
TABLE_COLUMNS = 16_384  # the limit of Excel
TABLE_CELLS = 10_000_000  # a few bytes of a workbook can name a very distant cell
LINE_CHARACTERS = 1_000_000  # of a table that bchisto wrote: every cell takes memory
WORKBOOK_BYTES = 64 * 1024**2  # unpacked, by the directory of the zip; no more is ever unpacked
WORKBOOK_ELEMENTS = 1_200_000  # begins and ends of XML elements, and attributes: 30,000 rows of four cells have as many

# archives
ARCHIVE_MEMBERS = 20_000  # the ensemble of the BACH paper has 600 models
ARCHIVE_BYTES = 8 * 1024**3  # unpacked; the models of the BACH paper are some 2 GB of text
ARCHIVE_RATIO = 40  # largest ratio of compression; texts of models shrink to a third or a tenth
ARCHIVE_SMALL = 64 * 1024**2  # unpacked bytes up to which the ratio does not matter
MANIFEST_BYTES = 128 * 1024**2  # the checksums of a million training images take 67 MB
MANIFEST_VALUES = 2_500_000  # the checksums of a million images, and more than everything else

# HDF5
HDF5_CHUNK_BYTES = 256 * 1024**2  # a chunk is unpacked as a whole
HDF5_EXPANSION = 200  # ratio of the unpacked to the stored size of a dataset: gzip shrinks zeros to a thousandth, and
# features to about a half
HDF5_ABSENT_BYTES = 16 * 1024**2  # of texts that were never written; they are read as empty
HDF5_OBJECTS = 100_000  # groups and datasets of a file that is checked as a whole
HDF5_BYTES = 4 * 1024**3  # of all values of such a file
HDF5_PROBE_BYTES = 8 * 1024**3  # memory of the process that reads an untrusted file first

# uploads to `serve`
SERVED_BYTES = 256 * 1024**2  # of a file: an uncompressed image of 85 million pixels
SERVED_IMAGES = 5_000  # of a session; the page shows them in one table
SERVED_HELD_BYTES = 16 * 1024**3  # of all files of a session
SERVED_CONNECTIONS = 128  # at a time; a browser has six
SERVED_IDLE_SECONDS = 20  # without data from a client
SERVED_UPLOAD_SECONDS = 600  # for one file: 256 MB at 3.6 Mbit/s
SERVED_WORK_SECONDS = 1800  # for one image; the published settings take minutes
SERVED_PIXEL_BYTES = 70  # of memory for a pixel: dense mode took 5.8 GB for 85 million

# prediction tables
EVALUATED_CLASSES = 100  # each class has its own metrics
EVALUATED_FOLDS = 5000  # each fold has its own metrics
EVALUATED_COLUMNS = 1000
EVALUATED_MODELS = 100
FOLD_DIGITS = 9
CLASS_LETTERS = 1000

# recipes
RECIPE_BYTES = 128 * 1024

# embeddings and feature files
EMBEDDING_BYTES = 8 * 1024**3  # unpacked: a million vectors of 2,048 numbers
EMBEDDING_ARRAYS = 1_000  # of an .npz file
CARD_LETTERS = 64 * 1024  # characters of the description of an encoder, in files and feature files
COLUMN_LETTERS = 256 * 1024**2  # characters of a column of a feature file
FAILURES_LETTERS = 64 * 1024**2  # characters of the list of images that failed
SETTINGS_VALUES = 10_000  # of the settings and lists of a feature file
AUGMENTATIONS = 1_000_000  # rows of an image in a feature file
CROPS = 200_000  # of an image: the published experiment takes 6,000

# weights and configs of encoders
WEIGHTS_ARRAYS = 20_000
WEIGHTS_BYTES = 4 * 1024**3  # unpacked; AlexNet has 240 MB
WEIGHTS_RATIO = 40  # as for archives; weights hardly shrink
WEIGHTS_SMALL = 256 * 1024**2  # as for archives
CONFIG_BYTES = 4 * 1024**2  # also for the index of a model in several files
CARD_HEADER = 64 * 1024  # characters of a README.md that are searched for its header
PARAMETER_GROWTH = 2  # times the parameters of its file that a network may have: files lack heads
ONNX_BYTES = 2 * 1024**3  # limit of a protobuf message; larger networks keep values beside it
NETWORK_SIDE = 2048  # pixels; largest input side of an external encoder

# model files
MODEL_CLASSES = 1_000
MODEL_ARRAYS = 20_000  # of a network; a large one has a thousand
MODEL_VALUE = 1e15  # sums of squares of such values are far below the limit of float32
TREE_FEATURES = 10_000_000
TREE_DEPTH = 1_000  # a tree of LightGBM's default size has 31 leaves
TREE_SCORE = 1e15  # scores are logarithms
TRAINED_SIDE = 4096  # pixels; largest input side of a trained network
TRAINED_BATCH = 2**27  # pixels of a batch
TRAINED_PATCHES = 100_000  # random patches per image
