// Package count counts the words and lines of local files by itself, to be
// compared with what Hadoop and Storm made of the same files. It shares no code
// with the steps that carry the files there, and imports nothing of Howdah.
//
// A word is a maximal run of bytes not in " \t\n\r\f"; a line ends at \n, \r or
// \r\n, and what follows the last of them is a line unless it is empty. The end
// of a file ends a word and a line. Words are named as Hadoop names them: see Text.
package count
