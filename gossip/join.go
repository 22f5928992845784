package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
)

const (
	seekWaitMin = 250 * time.Millisecond
	seekWaitMax = 10 * time.Second
	// seekAfter is when addresses that are all members are looked at again.
	seekAfter = 2 * time.Second
	// joinAddrsMax bounds what one name to join may resolve to.
	joinAddrsMax  = 32
	lookupTimeout = 5 * time.Second
)

// seek contacts the addresses in join that are no alive member's, for ever: two
// halves of a cluster that lost sight of each other for long meet again only so.
func (g *Gossip) seek(join []string) {
	if len(join) == 0 {
		return
	}
	wait := seekWaitMin
	for {
		missing := g.missing(join)
		for _, addr := range missing {
			g.contact(addr)
			if g.ctx.Err() != nil {
				return
			}
		}
		pause := seekAfter
		if len(missing) > 0 {
			pause, wait = wait, min(2*wait, seekWaitMax)
		} else {
			wait = seekWaitMin
		}
		select {
		case <-time.After(pause):
		case <-g.ctx.Done():
			return
		}
	}
}

// missing returns the addresses to join, resolved, that belong neither to this
// member nor to an alive one.
func (g *Gossip) missing(join []string) []string {
	known := map[string]bool{g.advertise.String(): true, g.transport.conn.LocalAddr().String(): true}
	for _, m := range g.Members() {
		if m.State == Alive {
			known[m.GossipAddr] = true
			known[m.Meta.Addr] = true
		}
	}
	var missing []string
	for _, name := range join {
		if known[name] {
			continue
		}
		addrs, err := resolve(g.ctx, name)
		if err != nil {
			g.log.warn("can't resolve an address to join", "addr", name, "err", err)
			continue
		}
		var unknown []string
		covered := false
		for _, a := range addrs {
			covered = covered || known[a.String()]
			unknown = append(unknown, a.String())
		}
		// A name with several addresses is satisfied by one of them, unless
		// there is nobody else yet: then all are tried, as one may be ourselves.
		if !covered || g.alone() {
			missing = append(missing, unknown...)
		}
	}
	return missing
}

// alone tells whether no other member is alive.
func (g *Gossip) alone() bool {
	for _, m := range g.Members() {
		if m.State == Alive && m.Name != g.name {
			return false
		}
	}
	return true
}

// contact exchanges what both sides know with the member at addr.
func (g *Gossip) contact(addr string) {
	if addr == g.advertise.String() {
		return
	}
	if _, err := g.list.Join([]string{addr}); err != nil && g.ctx.Err() == nil {
		if why := keyProblem(err.Error()); why != "" {
			g.log.warn(why, "addr", addr)
			return
		}
		if one := errors.Unwrap(err); one != nil {
			err = one // memberlist gives a list of one, laid out over several lines
		}
		g.log.info("can't reach a member to join, trying on", "addr", addr, "err", err)
	}
}

// resolve looks up host:port. An address resolves to itself.
func resolve(ctx context.Context, addr string) ([]netip.AddrPort, error) {
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		return []netip.AddrPort{unmap(ap)}, nil
	}
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("address %s: port %q is not a number up to 65535", addr, portText)
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var addrs []netip.AddrPort
	for _, ip := range ips[:min(len(ips), joinAddrsMax)] {
		addrs = append(addrs, unmap(netip.AddrPortFrom(ip, uint16(port))))
	}
	return addrs, nil
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// AdvertiseAddr returns the address that others use for a node that listens on
// bind: advertise if that is given, else bind, with an address of this machine
// in the place of 0.0.0.0 or [::]. It returns ErrBadConfig when there is none.
func AdvertiseAddr(bind, advertise string) (string, error) {
	if advertise != "" {
		if _, _, err := net.SplitHostPort(advertise); err != nil {
			return "", fmt.Errorf("%w: advertised address: %w", ErrBadConfig, err)
		}
		return advertise, nil
	}
	a, err := resolveAdvertise(bind, "")
	if err != nil {
		return "", err
	}
	return a.String(), nil
}

// resolveAdvertise returns the one IP address and port that packets to this
// member are sent to.
func resolveAdvertise(bind, advertise string) (netip.AddrPort, error) {
	addr := bind
	if advertise != "" {
		addr = advertise
	}
	if host, port, err := net.SplitHostPort(addr); err == nil && host == "" {
		addr = net.JoinHostPort("0.0.0.0", port) // ":7400"
	}
	addrs, err := resolve(context.Background(), addr)
	if err == nil && len(addrs) == 0 {
		err = fmt.Errorf("address %s: the host has none", addr)
	}
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%w: %w", ErrBadConfig, err) // err names the address
	}
	a := addrs[0]
	if a.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("%w: address %s: port 0", ErrBadConfig, addr)
	}
	if !a.Addr().IsUnspecified() {
		return a, nil
	}
	if advertise != "" {
		return netip.AddrPort{}, fmt.Errorf("%w: %s can't be advertised", ErrBadConfig, advertise)
	}
	ip, err := ownAddr()
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(ip, a.Port()), nil
}

// ownAddr picks an address of this machine that others are likely to reach: a
// private IPv4 one before others, loopback when there is nothing else.
func ownAddr() (netip.Addr, error) {
	ifaddrs, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%w: no address to advertise: %w", ErrBadConfig, err)
	}
	best, bestRank := netip.Addr{}, 0
	for _, a := range ifaddrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		if ip := prefix.Addr(); addrRank(ip) > bestRank {
			best, bestRank = ip, addrRank(ip)
		}
	}
	if bestRank == 0 {
		return netip.Addr{}, fmt.Errorf("%w: no address to advertise", ErrBadConfig)
	}
	return best, nil
}

func addrRank(ip netip.Addr) int {
	switch {
	case ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified():
		return 0
	case ip.IsLoopback():
		return 1
	case ip.Is4() && ip.IsPrivate():
		return 4
	case ip.Is4():
		return 3
	}
	return 2
}
