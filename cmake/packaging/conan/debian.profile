# Requirements from Debian's packages instead of Conan's: conan create ... --profile=default --profile=debian.profile
[platform_requires]
eigen/3.4.0
nlohmann_json/3.11.2
pcre2/10.42
