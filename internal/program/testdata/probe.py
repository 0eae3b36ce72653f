# Opens the address with the CA bundle of the image and prints what it answers.
import locale, sys, urllib.request
locale.setlocale(locale.LC_ALL, "")
assert locale.getpreferredencoding() == "UTF-8", locale.getpreferredencoding()
print(urllib.request.urlopen(sys.argv[1]).read().decode())
