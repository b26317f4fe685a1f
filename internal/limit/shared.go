package limit

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	// DefaultTimeout is what one question may take: those who ask have a customer
	// waiting. A Redis that stands beside the gateway answers in less than 1 ms.
	DefaultTimeout = 50 * time.Millisecond
	// probeTimeout and probeEvery are of the questions whether Redis is back.
	probeTimeout = time.Second
	probeEvery   = time.Second
	// awayLogEvery bounds the lines that say that it is away.
	awayLogEvery = time.Minute
	// keyPrefix keeps our keys apart from those of others.
	keyPrefix = "postrider:limit:"
)

// errAway says that Redis was away a moment ago: it is not asked.
var errAway = errors.New("redis is away")

// SharedConfig says where Redis is. The zero value of a field means its default.
type SharedConfig struct {
	Host     string // required
	Port     int    // default 6379
	Password string
	TLS      bool // verified by the system's roots
	// Timeout is what one question may take; default 50 ms.
	Timeout time.Duration
	// Log hears once a minute that Redis is away; nil: nothing is logged.
	Log *slog.Logger
	// Alone is told of each event that was counted in process, for want of an
	// answer. It must not block; it may be nil.
	Alone func()
}

// Shared counts events in Redis, for all replicas together, by Redis's own clock.
// When Redis does not answer in time, events are counted in process until it does: a
// limit is then each replica's own, and nobody waits. Safe for concurrent
// use. Its goroutine ends with Close.
type Shared struct {
	cfg    SharedConfig
	client *redis.Client
	local  *Limiter

	away    atomic.Bool
	wake    chan struct{} // capacity 1: it has just gone away
	ctx     context.Context
	cancel  context.CancelFunc
	keeper  sync.WaitGroup
	logMu   sync.Mutex
	lastLog time.Time
}

// NewShared makes a limiter; Redis need not be there yet.
func NewShared(c SharedConfig) *Shared {
	if c.Port == 0 {
		c.Port = 6379
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	logging.Disable() // it says on stderr what we say better
	o := &redis.Options{
		Addr: net.JoinHostPort(c.Host, strconv.Itoa(c.Port)), Password: c.Password,
		DialTimeout: probeTimeout, ReadTimeout: max(probeTimeout, c.Timeout), WriteTimeout: max(probeTimeout, c.Timeout),
		ContextTimeoutEnabled: true, // Timeout is the context's
		MaxRetries:            -1, DialerRetries: 1,
		MinIdleConns:    2, // a question should not wait for a handshake
		DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
	if c.TLS {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.Host}
	}
	s := &Shared{cfg: c, client: redis.NewClient(o), local: New(0), wake: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.keeper.Go(s.keep)
	return s
}

// Close ends the connections. Events are counted in process from then on.
func (s *Shared) Close() {
	s.away.Store(true)
	s.cancel()
	s.keeper.Wait()
	_ = s.client.Close()
}

// keep asks, once Redis has gone away, until it is back.
func (s *Shared) keep() {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-s.wake:
		case <-s.ctx.Done():
			return
		}
		for !s.answers() {
			pause.Reset(probeEvery)
			select {
			case <-pause.C:
			case <-s.ctx.Done():
				return
			}
		}
		s.away.Store(false)
	}
}

func (s *Shared) answers() bool {
	ctx, cancel := context.WithTimeout(s.ctx, probeTimeout)
	defer cancel()
	return s.client.Ping(ctx).Err() == nil
}

// run runs a script on keys. Its error means that Redis did not answer, and the
// caller counts in process.
func (s *Shared) run(script *redis.Script, keys []string, args ...any) ([]int64, error) {
	if s.away.Load() {
		s.alone(errAway)
		return nil, errAway
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.Timeout)
	defer cancel()
	got, err := script.Run(ctx, s.client, keys, args...).Int64Slice()
	if err == nil {
		return got, nil
	}
	if !s.away.Swap(true) {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	s.alone(err)
	return nil, err
}

// alone counts an event that Redis was not asked about, or did not answer to.
func (s *Shared) alone(err error) {
	if s.cfg.Alone != nil {
		s.cfg.Alone()
	}
	s.logMu.Lock()
	now := time.Now()
	quiet := now.Sub(s.lastLog) < awayLogEvery
	if !quiet {
		s.lastLog = now
	}
	s.logMu.Unlock()
	if !quiet {
		s.cfg.Log.Warn("redis does not answer: rates are each replica's own until it does", "error", err)
	}
}

// windowScript counts events over sliding windows, of all keys or of none. Of each
// key it keeps a count for each 128th of the window; an event leaves with the end of
// the part that it fell in, so it is never counted too short, and at most that much
// too long. It gives for each key whether there was room, how many more there are,
// and the microseconds until there are more.
//
// ARGV: 1 to count, then for each key: limit, microseconds of the window and of a
// part, events.
var windowScript = redis.NewScript(`
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local all, seen = true, {}
for k = 1, #KEYS do
  local a = 4 * k - 2
  local w = {limit = tonumber(ARGV[a]), span = tonumber(ARGV[a + 1]), width = tonumber(ARGV[a + 2]), n = tonumber(ARGV[a + 3]), total = 0, gone = {}}
  local parts = redis.call('HGETALL', KEYS[k])
  for i = 1, #parts, 2 do
    local part = tonumber(parts[i])
    if (part + 1) * w.width <= now - w.span then
      w.gone[#w.gone + 1] = parts[i]
    else
      w.total = w.total + tonumber(parts[i + 1])
      if not w.oldest or part < w.oldest then w.oldest = part end
    end
  end
  w.ok = w.total + w.n <= w.limit
  all = all and w.ok
  seen[k] = w
end
local out = {}
for k = 1, #KEYS do
  local w = seen[k]
  if all and ARGV[1] == '1' then
    local part = math.floor(now / w.width)
    if #w.gone > 0 then redis.call('HDEL', KEYS[k], unpack(w.gone)) end
    redis.call('HINCRBY', KEYS[k], string.format('%.0f', part), w.n)
    redis.call('PEXPIRE', KEYS[k], math.ceil((w.span + w.width) / 1000) + 1)
    w.total = w.total + w.n
    if not w.oldest then w.oldest = part end
  end
  local reset = 0
  if w.oldest then reset = (w.oldest + 1) * w.width + w.span - now end
  out[3 * k - 2], out[3 * k - 1], out[3 * k] = w.ok and 1 or 0, math.max(w.limit - w.total, 0), math.max(reset, 0)
end
return out
`)

// Take is Limiter.Take over all replicas. The time is Redis's: now counts only while
// Redis is away. The number of an event's window is exact to a 128th of it, never
// too many. Events of one key and another length of window are counted apart.
func (s *Shared) Take(key string, limit int, window time.Duration, now time.Time) Result {
	return s.ask(key, limit, window, now, true)
}

// Peek says what Take would say, without counting anything.
func (s *Shared) Peek(key string, limit int, window time.Duration, now time.Time) Result {
	return s.ask(key, limit, window, now, false)
}

func (s *Shared) ask(key string, limit int, window time.Duration, now time.Time, take bool) Result {
	return s.askAll([]Ask{{Key: key, Limit: limit, Window: window}}, now, take)[0]
}

// TakeAll is Limiter.TakeAll over all replicas, in one step of Redis.
func (s *Shared) TakeAll(asks []Ask, now time.Time) []Result { return s.askAll(asks, now, true) }

// PeekAll says what TakeAll would say, without counting anything.
func (s *Shared) PeekAll(asks []Ask, now time.Time) []Result { return s.askAll(asks, now, false) }

func (s *Shared) askAll(asks []Ask, now time.Time, take bool) []Result {
	keys, args := make([]string, len(asks)), make([]any, 1, 1+4*len(asks))
	if args[0] = 0; take {
		args[0] = 1
	}
	for i, a := range asks {
		if a.Limit <= 0 || a.Window <= 0 {
			return s.local.askAll(asks, now, false) // nothing is allowed, so nothing is counted
		}
		width := max(a.Window/maxMarks, time.Microsecond)
		keys[i] = fmt.Sprintf("%swindow:%d:%s", keyPrefix, a.Window.Microseconds(), a.Key)
		args = append(args, a.Limit, a.Window.Microseconds(), width.Microseconds(), a.count())
	}
	if len(asks) == 0 {
		return nil
	}
	got, err := s.run(windowScript, keys, args...)
	if err != nil || len(got) != 3*len(asks) {
		return s.local.askAll(asks, now, take)
	}
	out := make([]Result, len(asks))
	for i, a := range asks {
		out[i] = Result{OK: got[3*i] == 1, Limit: a.Limit, Remaining: int(got[3*i+1]), Reset: time.Duration(got[3*i+2]) * time.Microsecond}
	}
	return out
}

// bucketScript takes tokens from a bucket that fills by the rate and holds one
// second's worth. More than that goes only from a full bucket, which is then in
// debt. What is given back is taken as less than nothing.
//
// ARGV: tokens a second, tokens wanted.
var bucketScript = redis.NewScript(`
local rate, n = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(kept[1]) or rate, tonumber(kept[2]) or now
if now > at then
  tokens, at = tokens + (now - at) * rate / 1000000, now
end
tokens = math.min(tokens, rate)
if n > 0 and tokens + 0.000001 < math.min(n, rate) then return {0} end
tokens = math.min(tokens - n, rate)
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%.0f', at))
redis.call('PEXPIRE', KEYS[1], math.ceil((rate - tokens) / rate * 1000) + 1000)
return {1}
`)

// TakeTokens takes n tokens from the key's bucket, of so many a second and one
// second's worth at once, and reports whether it had them. A rate of 0 or less has
// none. An error means that Redis did not answer: nothing is known of the bucket.
func (s *Shared) TakeTokens(key string, rate, n int) (bool, error) {
	if rate <= 0 {
		return false, nil
	}
	got, err := s.run(bucketScript, []string{keyPrefix + "bucket:" + key}, rate, n)
	if err != nil {
		return false, err
	}
	return len(got) == 1 && got[0] == 1, nil
}

// GiveTokens gives back what TakeTokens took and was not used. If Redis does not
// answer it is lost, for at most as long as a bucket takes to fill.
func (s *Shared) GiveTokens(key string, rate, n int) {
	if rate > 0 && n > 0 {
		_, _ = s.run(bucketScript, []string{keyPrefix + "bucket:" + key}, rate, -n)
	}
}
