import os
import re

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain
from conan.tools.files import copy, load, rmdir


class LindenConan(ConanFile):
    name = "linden"
    description = "Compile-time differentiation and nested low-rank adapters"
    license = "MIT"
    author = "the linden authors"
    package_type = "header-library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"llama": [True, False]}  # linden::llama, and linden::cuda with the user's own toolkit
    default_options = {"llama": True}
    implements = ["auto_header_only"]
    no_copy_source = True

    @property
    def _tree(self):
        return os.path.join(self.recipe_folder, "..", "..", "..")

    def set_version(self):
        header = load(self, os.path.join(self._tree, "include", "linden", "version.hpp"))
        self.version = ".".join(re.findall(r"define LINDEN_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", header))

    def export_sources(self):
        for files in ("CMakeLists.txt", "LICENSE", "cmake/*", "include/*", "kernels/*"):
            copy(self, files, self._tree, self.export_sources_folder)

    def requirements(self):
        self.requires("eigen/[>=3.4 <4]")
        if self.options.llama:
            self.requires("nlohmann_json/[>=3.10 <4]")
            self.requires("pcre2/[>=10.40 <11]")

    def validate(self):
        check_min_cppstd(self, 20)

    def generate(self):
        toolchain = CMakeToolchain(self)
        for part in ("TESTS", "EXAMPLES", "BENCH"):
            toolchain.cache_variables["LINDEN_" + part] = False
        toolchain.generate()
        CMakeDeps(self).generate()

    def package(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.install()
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        rmdir(self, os.path.join(self.package_folder, "share", "doc"))

    def package_info(self):
        # linden's own CMake package, components and all, instead of one made by Conan
        self.cpp_info.set_property("cmake_find_mode", "none")
        self.cpp_info.builddirs = [os.path.join("share", "cmake", "linden")]
        self.cpp_info.bindirs = []
        self.cpp_info.libdirs = []
