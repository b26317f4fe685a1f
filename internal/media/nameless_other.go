//go:build !linux

package media

import "os"

// nameless opens a file without a name, which only Linux can.
func nameless(string) (*os.File, bool, error) { return nil, false, nil }
