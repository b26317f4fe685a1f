package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/membership/static"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/common/testing/freeport"
)

const (
	clusterName = "active" // the name every single-cluster Temporal has
	loopback    = "127.0.0.1"

	coreStore       = "core"
	visibilityStore = "visibility"

	// unlimited switches a rate limit off in effect. The limits protect a shared cluster from its
	// tenants; here is one tenant, and the defaults throttle it silently from about 210 messages a
	// second (matching.rps 1200 at 5.6 calls a message), long before the machine is full.
	unlimited = 1_000_000
)

// endpoints are the gRPC ports of the four roles. Only the frontend's is for others.
type endpoints struct {
	frontend, history, matching, worker int
}

// choosePorts takes free loopback ports for the inner roles. Membership needs none: the hosts are
// given statically, so ringpop never listens.
func choosePorts(o *options) endpoints {
	e := endpoints{o.Port, freeport.MustGetFreePort(), freeport.MustGetFreePort(), freeport.MustGetFreePort()}
	if e.frontend == 0 {
		e.frontend = freeport.MustGetFreePort()
	}
	return e
}

// reachable is the address under which this process reaches what listens on ip.
func reachable(ip string, port int) string {
	if net.ParseIP(ip).IsUnspecified() {
		ip = loopback
	}
	return net.JoinHostPort(ip, strconv.Itoa(port))
}

func (e endpoints) staticHosts(ip string) map[primitives.ServiceName]static.Hosts {
	return map[primitives.ServiceName]static.Hosts{
		primitives.FrontendService: static.SingleLocalHost(reachable(ip, e.frontend)),
		primitives.HistoryService:  static.SingleLocalHost(reachable(loopback, e.history)),
		primitives.MatchingService: static.SingleLocalHost(reachable(loopback, e.matching)),
		primitives.WorkerService:   static.SingleLocalHost(reachable(loopback, e.worker)),
	}
}

// serverConfig is what the official images read from YAML. pprof, archival, the HTTP API and
// metrics endpoints are off by their zero values.
func serverConfig(o *options, e endpoints, core, visibility *config.SQL) *config.Config {
	frontend := reachable(o.IP, e.frontend)
	service := func(ip string, port int) config.Service {
		return config.Service{RPC: config.RPC{GRPCPort: port, BindOnIP: ip}}
	}
	return &config.Config{
		Global: config.Global{
			Membership: config.Membership{MaxJoinDuration: 30 * time.Second, BroadcastAddress: loopback},
		},
		Persistence: config.Persistence{
			DefaultStore:     coreStore,
			VisibilityStore:  visibilityStore,
			NumHistoryShards: int32(o.Shards),
			DataStores: map[string]config.DataStore{
				coreStore:       {SQL: core},
				visibilityStore: {SQL: visibility},
			},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10,
			MasterClusterName:        clusterName,
			CurrentClusterName:       clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{
				clusterName: {Enabled: true, InitialFailoverVersion: 1, RPCAddress: frontend},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Services: map[string]config.Service{
			"frontend": service(o.IP, e.frontend),
			"history":  service(loopback, e.history),
			"matching": service(loopback, e.matching),
			"worker":   service(loopback, e.worker),
		},
		Archival: config.Archival{
			History:    config.HistoryArchival{State: "disabled"},
			Visibility: config.VisibilityArchival{State: "disabled"},
		},
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
			Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
		}},
		PublicClient: config.PublicClient{HostPort: frontend},
	}
}

// sqliteConfig keeps the state in memory under a name of its own, or in the file if one is given.
func sqliteConfig(file string) *config.SQL {
	cfg := &config.SQL{PluginName: sqliteplugin.PluginName, DatabaseName: file}
	if file == "" {
		cfg.DatabaseName = fmt.Sprintf("temporald-%d", os.Getpid())
		cfg.ConnectAttributes = map[string]string{"mode": "memory", "cache": "shared"}
		return cfg
	}
	cfg.ConnectAttributes = map[string]string{"mode": "rwc"}
	return cfg
}

// dynamicConfig holds the settings for one node with one tenant. What is not named here keeps the
// server's default, such as history.retentionTimerJitterDuration (30 m), which spreads deletions.
// Overrides come last.
func dynamicConfig(o *options) dynamicconfig.StaticClient {
	values := dynamicconfig.StaticClient{
		// Four partitions would quarter every vendor's rate limit and split its backlog.
		dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():  1,
		dynamicconfig.MatchingNumTaskqueueWritePartitions.Key(): 1,
		// Accounts share a vendor's backlog. On from the first day: switching later drains it first.
		dynamicconfig.MatchingEnableFairness.Key(): true,
		// The SQL visibility schema has workflow_id varchar(255); longer ids would fail there for ever.
		dynamicconfig.MaxIDLengthLimit.Key(): 255,
		// For tests that add attributes as they go. On Postgres it would buy nothing, since columns are
		// pre-allocated and the namespace carries the names, and cost 7 reads a workflow: 5–9 % of the
		// throughput of a start, a local activity and a close, measured here on 2 cores.
		dynamicconfig.ForceSearchAttributesCacheRefreshOnRead.Key(): o.SQLite,
		// The server would otherwise report itself to Temporal's version service.
		dynamicconfig.EnableServerVersionCheck.Key(): false,

		dynamicconfig.FrontendRPS.Key():                        unlimited,
		dynamicconfig.FrontendMaxNamespaceRPSPerInstance.Key(): unlimited,
		dynamicconfig.HistoryRPS.Key():                         unlimited,
		dynamicconfig.MatchingRPS.Key():                        unlimited,
		dynamicconfig.FrontendPersistenceMaxQPS.Key():          unlimited,
		dynamicconfig.HistoryPersistenceMaxQPS.Key():           unlimited,
		dynamicconfig.MatchingPersistenceMaxQPS.Key():          unlimited,
		dynamicconfig.WorkerPersistenceMaxQPS.Key():            unlimited,
		// The search index may be a second behind. A shard then reads its visibility tasks in batches, and
		// the server leaves out the "started" and "changed" entries of a workflow that has ended by the
		// time they come up: one write to the index instead of three for a message that is done at once.
		dynamicconfig.VisibilityProcessorMaxPollRPS.Key(): 1,
		// Lists scan; 100 a second serves a UI and tests, and still bounds a loop gone wild.
		dynamicconfig.FrontendMaxNamespaceVisibilityRPSPerInstance.Key(): 100,
		// Setting a vendor's rate (UpdateTaskQueueConfig) counts as one of these; the default is 1 a second.
		dynamicconfig.FrontendMaxNamespaceNamespaceReplicationInducingAPIsRPSPerInstance.Key(): 100,
		// Entries of some 30 KB, closed workflows among them. The default of 128,000 let the process grow
		// to 5 GB in a flood of 20,000 messages; a workflow that falls out is read again when it goes on.
		dynamicconfig.HistoryCacheHostLevelMaxSize.Key(): 4_000,
		// Payloads that are kept elsewhere: we have none, and looking for them in every event of every
		// write took 4 % of the process's time.
		dynamicconfig.ExternalPayloadsEnabled.Key(): false,
		// Long polls per API of all replicas together; one replica with 50 vendors may hold 5,000.
		dynamicconfig.FrontendMaxConcurrentLongRunningRequestsPerInstance.Key(): 20_000,
	}
	for key, value := range o.DynamicConfig {
		values[dynamicconfig.MakeKey(key)] = value
	}
	return values
}
