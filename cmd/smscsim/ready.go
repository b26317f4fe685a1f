package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// ready is what the ready file says: where the simulator listens, as host:port.
type ready struct {
	SMPP string `json:"smpp"`
	HTTP string `json:"http"`
	PID  int    `json:"pid"`
}

// write puts the file in place in one step: who sees it sees all of it.
func (r ready) write(path string) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("ready file: %w", err)
	}
	_, err = f.Write(append(body, '\n'))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("ready file: %w", err)
	}
	return nil
}
