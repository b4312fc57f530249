package daemon

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
)

// readKept reads what writeKept has written. A file that is not there leaves into as
// it is.
func readKept(path string, into any) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// writeKept writes a small file of this node's, whole or not at all, also when the
// power fails meanwhile: a rename may reach the disk before what the file holds.
func writeKept(path string, value any) (err error) {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(text, '\n'))
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
