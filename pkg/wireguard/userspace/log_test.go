package userspace

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"log/slog"
	"strings"
	"testing"

	"golang.zx2c4.com/wireguard/conn/bindtest"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/tuntest"
)

// wireguard-go quotes a line that it cannot read; what may be a key in it is not
// logged, and what is not logged at all is its work.
func TestLogWithoutKeys(t *testing.T) {
	key := bytes.Repeat([]byte{0xab, 0x13}, 16)
	text := hex.EncodeToString(key)
	tests := map[string]string{
		"no equals sign":       "private_key" + text + "\n",
		"too short":            "private_key=" + text[:60] + "\n",
		"an unknown key":       "secret_key=" + text + "\n",
		"base64":               "private_key=" + base64.StdEncoding.EncodeToString(key) + "\n",
		"preshared":            "public_key=" + strings.Repeat("11", 32) + "\npreshared_key=" + text[:62] + "zz\n",
		"a good one, then not": "private_key=" + text + "\nlisten_port=x\n",
	}
	for name, order := range tests {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		d := device.NewDevice(tuntest.NewChannelTUN().TUN(), bindtest.NewChannelBinds()[0], wireguardLog(log, "zwtest"))
		if err := d.IpcSet(order); err == nil {
			t.Errorf("%s: was taken", name)
		}
		d.Close()
		if out.Len() == 0 || !strings.Contains(out.String(), "interface=zwtest") {
			t.Errorf("%s: logged %q", name, out.String())
		}
		for _, part := range []string{text[:24], strings.ToUpper(text[:24]), base64.StdEncoding.EncodeToString(key)[:24]} {
			if strings.Contains(out.String(), part) {
				t.Errorf("%s: the log has %q", name, out.String())
			}
		}
	}
}

func TestLogIsBounded(t *testing.T) {
	var out bytes.Buffer
	log := wireguardLog(slog.New(slog.NewTextHandler(&out, nil)), "zwtest")
	for range 1000 {
		log.Errorf("cannot send to %v", "192.0.2.1:21000")
	}
	if n := strings.Count(out.String(), "192.0.2.1:21000"); n != linesAMinute {
		t.Errorf("%d lines, want %d", n, linesAMinute)
	}
}
