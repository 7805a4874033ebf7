package app

// DatasetLabel begins the labels with which an app asks for folders of the
// warehouse: HOWDAH_DATASET_WORDS=/data/words, with ":ro" behind those it only
// reads. Its instances find the path in the variable of the same name.
const DatasetLabel = "HOWDAH_DATASET_"
