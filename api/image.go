package api

// Image is an image in the server's registry.
type Image struct {
	Name   string `json:"name" doc:"PROJECT/NAME"`
	Tag    string `json:"tag" doc:"Tag"`
	Digest string `json:"digest" doc:"Digest of its manifest"`
	Bytes  int64  `json:"bytes" doc:"Size of its layers as they are kept"`
}
