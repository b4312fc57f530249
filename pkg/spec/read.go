package spec

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// ReadNode reads and decodes a node.yaml of at most MaxDocument bytes. An error
// of type Errors is about what it says; any other, about reading it.
func ReadNode(path string) (*Node, error) {
	data, err := ReadText(path)
	if err != nil {
		return nil, err
	}
	return DecodeNode(path, data)
}

// ReadText reads the text of a document of at most MaxDocument bytes.
func ReadText(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read document: %w; %s", err, remedy(err))
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, fmt.Errorf("read document: %s is a directory; name the file in it", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("read document: %w; check the disk, then try again", err)
	}
	if len(data) > MaxDocument {
		return nil, fmt.Errorf("read document: %s is larger than %d bytes; check that it is the right file", path, MaxDocument)
	}
	return data, nil
}

// remedy says what to do about a file that cannot be opened.
func remedy(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "check the path, or write the file (`zosnet schema node|network` prints what it may say)"
	case errors.Is(err, fs.ErrPermission):
		return "make it readable for the user that runs zosnet"
	}
	return "check that the path leads to a file"
}
