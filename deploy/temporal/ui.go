package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	uiserver "github.com/temporalio/ui-server/v2/server"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	uioptions "github.com/temporalio/ui-server/v2/server/server_options"
)

const (
	uiWait = 10 * time.Second
	uiPoll = 20 * time.Millisecond
)

// startUI serves the Web UI on the frontend's address. It has no login of its own and speaks plain
// HTTP: bind it to loopback, or put the console's authentication before it.
func startUI(ctx context.Context, o *options, frontend string) (*uiserver.Server, string, error) {
	// The UI server exits the process when it cannot listen; asking first gives a better error.
	probe, err := net.Listen("tcp", net.JoinHostPort(o.IP, strconv.Itoa(o.UIPort)))
	if err != nil {
		return nil, "", fmt.Errorf("ui: %w", err)
	}
	if err := probe.Close(); err != nil {
		return nil, "", fmt.Errorf("ui: %w", err)
	}
	host := o.IP
	if net.ParseIP(host).To4() == nil {
		host = "[" + host + "]" // the UI joins host and port without brackets
	}
	ui := uiserver.NewServer(uioptions.WithConfigProvider(&uiconfig.Config{
		Host:                host,
		Port:                o.UIPort,
		TemporalGRPCAddress: frontend,
		EnableUI:            true,
		PublicPath:          o.UIPath,
		DisableWriteActions: o.UIReadOnly,
		DefaultNamespace:    o.Namespace,
		Codec:               uiconfig.Codec{Endpoint: o.CodecEndpoint},
		CORS:                uiconfig.CORS{CookieInsecure: true}, // over HTTP a secure CSRF cookie never comes back
		DisableNewsFetch:    true,
		HideLogs:            true,
	}))
	go func() { _ = ui.Start() }() // returns after Stop; any other end exits the process there
	address := "http://" + reachable(o.IP, o.UIPort) + o.UIPath
	ctx, cancel := context.WithTimeout(ctx, uiWait)
	defer cancel()
	err = poll(ctx, uiPoll, func() error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/healthz", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		return response.Body.Close()
	})
	if err != nil {
		ui.Stop()
		return nil, "", fmt.Errorf("ui: %w", err)
	}
	return ui, address, nil
}
