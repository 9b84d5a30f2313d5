// k3s-pull fetches an image as k3s would: by a registries.yaml, which k3s's own library reads and goes by.
//
//	k3s-pull registries.yaml docker.io/library/nginx:latest
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/rancher/wharfie/pkg/registries"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: k3s-pull FILE IMAGE")
	}
	file, err := registries.GetPrivateRegistries(os.Args[1])
	check(err)
	reference, err := name.ParseReference(os.Args[2])
	check(err)
	image, err := file.Image(reference)
	check(err)
	check(validate.Image(image))
	id, err := image.ConfigName()
	check(err)
	fmt.Println(id)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
