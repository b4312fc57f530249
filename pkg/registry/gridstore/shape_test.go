package gridstore

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// everyKind gives the kinds of keys, from the source: also those of tomorrow.
func everyKind(t *testing.T) (kinds []Kind) {
	t.Helper()
	file, err := parser.ParseFile(gotoken.NewFileSet(), "keys.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, is := n.(*ast.ValueSpec); is {
			if of, named := spec.Type.(*ast.Ident); named && of.Name == "Kind" {
				text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				kinds = append(kinds, Kind(text))
			}
		}
		return true
	})
	if len(kinds) < 20 {
		t.Fatalf("keys.go has the kinds %v", kinds)
	}
	return kinds
}

// deep is a value with every form that one can have.
type deep struct {
	Extra
	Name  string              `json:"name"`
	One   *piece              `json:"one,omitempty"`
	List  []piece             `json:"list,omitempty"`
	Map   map[string]piece    `json:"map,omitempty"`
	Lists map[string][]*piece `json:"lists,omitempty"`
}

type piece struct {
	Name string           `json:"name"`
	Port uint16           `json:"port"`
	Next *piecesNext      `json:"next,omitempty"`
	At   []netip.AddrPort `json:"at,omitempty"`
}

type piecesNext struct {
	Key string `json:"key"`
}

// everyType gives the type of every value that is stored, by what it is of.
func everyType(t *testing.T) map[string]reflect.Type {
	t.Helper()
	types := map[string]reflect.Type{"envelope": reflect.TypeFor[envelope](), "deep": reflect.TypeFor[deep]()}
	for _, kind := range everyKind(t) {
		v, _ := decodeAs(Key{Kind: kind}, []byte(`{}`))
		if v == nil {
			t.Fatalf("no value is stored under keys of kind %s", kind)
		}
		types[string(kind)] = reflect.TypeOf(v).Elem()
	}
	return types
}

// TestNewerFieldsAtAnyDepth: a newer zosnet may add a field to each object of each
// value. An older one that reads, changes and writes the value leaves it there for as
// long as it leaves the object.
func TestNewerFieldsAtAnyDepth(t *testing.T) {
	t.Parallel()
	for name, of := range everyType(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			was, now := sample(t, of, 1), sample(t, of, 2)
			newer, added := addFields(t, of, was)
			want, all := addFields(t, of, now)
			if diff := cmp.Diff(added, all); diff != "" {
				t.Fatalf("the two samples have different objects: %s", diff)
			}
			check := func(what string, v value, replaced []byte, want []byte) {
				t.Helper()
				got, err := encode(v, replaced)
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				if diff := cmp.Diff(tree(t, want), tree(t, got)); diff != "" {
					t.Errorf("%s: want -, got +\n%s", what, diff)
				}
			}
			check("a value of its own is written over it", now, newer, want)

			read := reflect.New(of)
			if err := decode(newer, read.Interface().(value)); err != nil {
				t.Fatal(err)
			}
			check("it is read and written elsewhere", read.Interface().(value), nil, newer)
			for _, i := range storedFields(of) {
				read.Elem().FieldByIndex(i).Set(reflect.ValueOf(now).Elem().FieldByIndex(i))
			}
			check("it is read, changed and written over", read.Interface().(value), newer, want)

			for _, i := range storedFields(of) {
				f := of.FieldByIndex(i)
				if k := f.Type.Kind(); k != reflect.Pointer && k != reflect.Map && k != reflect.Slice {
					continue
				}
				less := reflect.New(of)
				for _, j := range storedFields(of) {
					if !slices.Equal(i, j) {
						less.Elem().FieldByIndex(j).Set(reflect.ValueOf(now).Elem().FieldByIndex(j))
					}
				}
				want, _ := addFields(t, of, less.Interface().(value))
				check("without "+f.Name, less.Interface().(value), newer, want)
			}
		})
	}
}

// storedFields gives the fields of a struct and of those embedded in it that are stored.
func storedFields(of reflect.Type) (list [][]int) {
	for _, f := range reflect.VisibleFields(of) {
		if f.IsExported() && !f.Anonymous && f.Tag.Get("json") != "-" {
			list = append(list, f.Index)
		}
	}
	return list
}

// addFields gives a value as a newer zosnet writes it, with a field in each object that
// says where it is, and those fields.
func addFields(t *testing.T, of reflect.Type, v value) (raw []byte, added []string) {
	t.Helper()
	old, err := encode(v, nil)
	if err != nil {
		t.Fatal(err)
	}
	root := tree(t, old)
	objects(t, of, root, "", func(at string, object map[string]any) {
		object["aNewField"] = map[string]any{"at": at}
		added = append(added, at)
	})
	if raw, err = json.Marshal(root); err != nil {
		t.Fatal(err)
	}
	return raw, added
}

func tree(t *testing.T, raw []byte) (root any) {
	t.Helper()
	if err := json.Unmarshal(raw, &root); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return root
}

// objects visits every object of some JSON that is a struct here.
func objects(t *testing.T, of reflect.Type, is any, at string, visit func(at string, object map[string]any)) {
	t.Helper()
	if is == nil || of.Implements(asText) || of.Implements(asJSON) {
		return
	}
	switch of.Kind() {
	case reflect.Pointer:
		objects(t, of.Elem(), is, at, visit)
	case reflect.Struct:
		object := is.(map[string]any)
		visit(at, object)
		for _, i := range storedFields(of) {
			f := of.FieldByIndex(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" {
				t.Fatalf("%s.%s has no name in JSON", of, f.Name)
			}
			objects(t, f.Type, object[name], at+"."+name, visit)
		}
	case reflect.Map:
		object := is.(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(object)) {
			objects(t, of.Elem(), object[key], at+"."+key, visit)
		}
	case reflect.Slice:
		list, isList := is.([]any) // bytes are none
		for i := range list {
			if isList {
				objects(t, of.Elem(), list[i], fmt.Sprintf("%s[%d]", at, i), visit)
			}
		}
	}
}

// sample gives a value of a type with something in everything that it has: as many
// elements for each n, and what tells them apart the same.
func sample(t *testing.T, of reflect.Type, n int) value {
	t.Helper()
	v := reflect.New(of)
	fill(t, v.Elem(), n)
	return v.Interface().(value)
}

func fill(t *testing.T, v reflect.Value, n int) {
	t.Helper()
	switch v.Interface().(type) {
	case Extra:
		return
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", n))))
		return
	case netip.AddrPort:
		v.Set(reflect.ValueOf(netip.MustParseAddrPort(fmt.Sprintf("[2001:db8::%d]:%d", n, n))))
		return
	case netip.Prefix:
		v.Set(reflect.ValueOf(netip.MustParsePrefix(fmt.Sprintf("2001:db8:%d::/48", n))))
		return
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC)))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString(fmt.Sprintf("x%d", n))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(n))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(n))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), n)
	case reflect.Array:
		for i := range v.Len() {
			fill(t, v.Index(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			item := v.Index(i)
			if fill(t, item, n); item.Kind() == reflect.Pointer {
				item = item.Elem()
			}
			if item.Kind() == reflect.Struct && !item.Type().Implements(asText) {
				fill(t, item.Field(0), i+1)
			}
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for _, key := range []string{"n1", "n2"} {
			of := reflect.New(v.Type().Elem()).Elem()
			fill(t, of, n)
			v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), of)
		}
	case reflect.Struct:
		for _, i := range storedFields(v.Type()) {
			fill(t, v.FieldByIndex(i), n)
		}
	default:
		t.Fatalf("no sample of a %s: what is stored has none so far", v.Type())
	}
}

// TestWhatIsKept says what of a value an older zosnet keeps when it writes another one
// over it.
func TestWhatIsKept(t *testing.T) {
	t.Parallel()
	two := []piece{{Name: "a"}, {Name: "b"}}
	tests := []struct {
		name  string
		there string
		write deep
		want  string
	}{
		{"elements change places", `{"version":1,"name":"x","list":[{"name":"b","port":1,"new":"b"},{"name":"a","port":2,"new":"a"}]}`,
			deep{Name: "x", List: two}, `{"version":1,"name":"x","list":[{"name":"a","port":0,"new":"a"},{"name":"b","port":0,"new":"b"}]}`},
		{"one goes, another comes", `{"version":1,"name":"x","list":[{"name":"z","new":"z"},{"name":"a","new":"a"}]}`,
			deep{Name: "x", List: two}, `{"version":1,"name":"x","list":[{"name":"a","port":0,"new":"a"},{"name":"b","port":0}]}`},
		{"a key of a map goes", `{"version":1,"name":"x","map":{"p":{"name":"a","new":1},"q":{"name":"b","new":2}}}`,
			deep{Name: "x", Map: map[string]piece{"q": {Name: "b"}}}, `{"version":1,"name":"x","map":{"q":{"name":"b","port":0,"new":2}}}`},
		{"another form", `{"version":1,"name":{"new":1},"one":[{"new":1}],"list":{"new":1},"map":[1]}`,
			deep{Name: "x", One: &piece{Name: "a"}, List: two[:1], Map: map[string]piece{"q": two[0]}},
			`{"version":1,"name":"x","one":{"name":"a","port":0},"list":[{"name":"a","port":0}],"map":{"q":{"name":"a","port":0}}}`},
		{"a field that would be read as one of ours", `{"version":1,"Version":2,"nAme":"y","NAME":"z","map":{"q":{"Name":"b","nexT":{"key":"k"}}}}`,
			deep{Name: "x", Map: map[string]piece{"q": two[0]}}, `{"version":1,"name":"x","map":{"q":{"name":"a","port":0}}}`},
		{"one that is so by another letter", `{"version":1,"name":"x","li\u017ft":[],"ver\u017fion":2}`,
			deep{Name: "x"}, `{"version":1,"name":"x"}`},
		{"numbers as they were written", `{"version":1,"name":"x","new":12345678901234567890.50}`, deep{Name: "y"}, `{"version":1,"name":"y","new":12345678901234567890.50}`},
		{"no value", `garbage`, deep{Name: "x"}, `{"version":1,"name":"x"}`},
		{"no version", `{"new":1}`, deep{Name: "x"}, `{"version":1,"name":"x"}`},
		{"a version that no zosnet writes", `{"version":0,"new":1}`, deep{Name: "x"}, `{"version":1,"name":"x"}`},
		{"as much as may be", `{"version":1,"new":"` + strings.Repeat("n", mostUnknown-100) + `"}`, deep{Name: "x"},
			`{"version":1,"name":"x","new":"` + strings.Repeat("n", mostUnknown-100) + `"}`},
		{"more than may be", `{"version":1,"new":"` + strings.Repeat("n", mostUnknown) + `"}`, deep{Name: "x"}, `{"version":1,"name":"x"}`},
	}
	for _, tt := range tests {
		got, err := encode(&tt.write, []byte(tt.there))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var is, want any
		for raw, into := range map[string]*any{string(got): &is, tt.want: &want} {
			dec := json.NewDecoder(strings.NewReader(raw))
			dec.UseNumber()
			if err := dec.Decode(into); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
		}
		if diff := cmp.Diff(want, is); diff != "" {
			t.Errorf("%s: want -, got +\n%.2000s", tt.name, diff)
		}
	}
	if raw, err := encode(&deep{}, []byte(`{"version":2}`)); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("a newer version is replaced: %s, %v", raw, err)
	}
}
