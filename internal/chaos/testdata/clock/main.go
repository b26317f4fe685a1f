// Command clock tells the time for each line of its input: as time.Now has it, as a
// timer's channel has it, and how long it has been running, all in nanoseconds.
package main

import (
	"bufio"
	"fmt"
	"os"
	"time"
)

func main() {
	began := time.Now()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		now := time.Now()
		fired := <-time.After(time.Millisecond) // filled in by the scheduler
		fmt.Println(now.UnixNano(), fired.UnixNano(), time.Since(began).Nanoseconds())
	}
}
